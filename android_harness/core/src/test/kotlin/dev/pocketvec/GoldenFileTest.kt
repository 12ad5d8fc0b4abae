package dev.pocketvec

import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class GoldenFileTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private fun golden(text: String): File =
        temporary.root.also { File(it, GoldenFile.NAME).writeText(text) }

    private fun row(text: String) =
        """{"text": "$text", "prompt": "q: ", "ids": [2, 1], "vector": [0.6, -8e-1]}"""

    @Test
    fun `texts with braces, quotes and escapes come back`() {
        val rows = listOf("{a} \\\"}{\\\\", "\\u00e9]}").joinToString(transform = ::row)
        val texts = GoldenFile.read(golden("""{"dim": 2, "texts": [$rows]}"""))
        assertEquals(listOf("{a} \"}{\\", "é]}"), texts.map { it.text })
        assertEquals("q: ", texts[0].prompt)
        assertArrayEquals(intArrayOf(2, 1), texts[0].ids)
        assertArrayEquals(floatArrayOf(0.6f, -0.8f), texts[0].vector, 0f)
    }

    @Test
    fun `the first text is there without the rest being read`() {
        val folder = golden("""{"dim": 2, "texts": [${row("a")}, {"no": """)
        assertEquals("a", GoldenFile.stream(folder) { it.first().text })
    }

    @Test
    fun `a file that ends too early is refused`() = assertRefused("golden.json", "ends too early") {
        GoldenFile.read(golden("""{"dim": 2, "texts": [${row("a")}, """))
    }

    @Test
    fun `a file without texts is refused`() = assertRefused("golden.json", "no golden texts") {
        GoldenFile.read(golden("""{"dim": 2, "texts": []}"""))
    }

    @Test
    fun `a text without a vector is refused`() = assertRefused("golden.json", "'vector' is missing") {
        GoldenFile.read(golden("""{"dim": 2, "texts": [{"text": "", "prompt": "", "ids": []}]}"""))
    }
}
