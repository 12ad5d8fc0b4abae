package dev.pocketvec.litert

import dev.pocketvec.PocketvecException
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class WeightCacheFileTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private fun cache(key: String) = WeightCacheFile(File(temporary.root, "caches"), key)

    private fun build(key: String, content: String): File =
        cache(key).run { prepare().also { it.writeText(content) }.also { seal() } }

    @Test
    fun `a sealed cache is used again`() {
        val file = build("model 2.3.0 dotprod", "packed")
        assertTrue(cache("model 2.3.0 dotprod").isValid)
        assertEquals("packed", cache("model 2.3.0 dotprod").prepare().readText())
        assertEquals(file, cache("model 2.3.0 dotprod").prepare())
    }

    @Test
    fun `another model, version or processor has another file`() {
        val keys = listOf("a 2.3.0 x", "b 2.3.0 x", "a 2.4.0 x", "a 2.3.0 y")
        val names = keys.map { cache(it).prepare().name }
        assertEquals(names.size, names.distinct().size)
    }

    @Test
    fun `a build that was cut short is thrown away`() {
        val file = cache("model").prepare()
        file.writeText("half")
        assertFalse(cache("model").isValid)
        assertFalse(cache("model").prepare().exists())
    }

    @Test
    fun `a cache that was truncated later is thrown away`() {
        build("model", "packed").writeText("pack")
        assertFalse(cache("model").prepare().exists())
    }

    @Test
    fun `a folder that cannot be made is named`() {
        val occupied = temporary.newFile("occupied")
        val cache = WeightCacheFile(occupied, "model")
        val error = assertThrows(PocketvecException::class.java) { cache.prepare() }
        assertEquals("$occupied: cannot hold the weight cache; choose another folder", error.message)
    }

    @Test
    fun `another instruction set is another processor`() {
        val plain = temporary.newFile().apply { writeText("processor : 0\nFeatures : fp asimd\n") }
        val newer = temporary.newFile().apply { writeText("processor : 0\nFeatures : fp asimd asimddp\n") }
        assertNotEquals(processorFeatures(plain), processorFeatures(newer))
    }
}
