package dev.pocketvec.bench

import dev.pocketvec.assertRefused
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class WeightCacheTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val cache get() = File(temporary.root, "cache")

    private fun write(folder: File?) = File(checkNotNull(folder), "packed").writeText("abc")

    @Test
    fun `a build begins with nothing, that of other models gone`() {
        write(WeightCache(cache, Job.BUILD_CACHE, "other").folder)
        val built = WeightCache(cache, Job.BUILD_CACHE, "this")
        assertEquals(0, built.bytes())
        assertTrue(checkNotNull(built.folder).isDirectory)
        assertEquals(listOf("this"), cache.list().orEmpty().toList())
    }

    @Test
    fun `a warm job finds what the build left`() {
        write(WeightCache(cache, Job.BUILD_CACHE, "this").folder)
        assertEquals(3, WeightCache(cache, Job.WARM_CACHE, "this").bytes())
    }

    @Test
    fun `a warm job without a build is refused`() {
        write(WeightCache(cache, Job.BUILD_CACHE, "other").folder)
        assertRefused("no weight cache", "build") { WeightCache(cache, Job.WARM_CACHE, "this") }
    }

    @Test
    fun `a job without a cache has no folder`() {
        assertNull(WeightCache(cache, Job.NO_CACHE, "this").folder)
        assertEquals(0, WeightCache(cache, Job.NO_CACHE, "this").bytes())
    }
}
