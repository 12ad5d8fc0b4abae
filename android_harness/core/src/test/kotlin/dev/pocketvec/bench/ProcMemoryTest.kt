package dev.pocketvec.bench

import java.io.File
import java.nio.ByteBuffer
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

private const val BYTES = 64 shl 20
private const val PAGE = 4096

class ProcMemoryTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun `memory that is taken and touched shows as anonymous, in the peak and at the end`() {
        assumeLinux()
        val memory = ProcMemory()
        val before = memory.now()
        val (buffer, watched) = memory.watch { touched() }
        val taken = buffer.capacity() / 1e6
        assertTrue(watched.end.anonymous - before.anonymous > 0.9 * taken)
        assertTrue(watched.anonymous >= watched.end.anonymous)
        assertTrue(watched.peak.rss >= watched.end.rss)
        assertTrue(watched.highWater >= watched.peak.rss)
    }

    @Test
    fun `the high-water mark starts anew for each part`() {
        assumeLinux()
        val memory = ProcMemory()
        File("/proc/self/clear_refs").writeText("5")
        val (_, watched) = memory.watch { }
        assertEquals(memory.now().rss, watched.highWater, 20.0)
    }

    @Test
    fun `the proportional size of this process holds its private pages`() {
        assumeLinux()
        val pss = checkNotNull(ProcMemory().pss())
        assertTrue(pss.privateDirty > 1 && pss.total >= pss.privateDirty + pss.privateClean)
    }

    @Test
    fun `where the mark may not be set back it is the highest sample`() {
        File(temporary.root, "clear_refs").mkdir() // as good as forbidden
        File(temporary.root, "status").writeText(
            "Name:\tx\nVmHWM:\t 9000 kB\nRssAnon:\t 1000 kB\nRssFile:\t 500 kB\nRssShmem:\t 0 kB\n",
        )
        val memory = ProcMemory(temporary.root)
        assertEquals(MemoryPoint(1.024, 0.512, 0.0), memory.now())
        assertEquals(1.536, memory.watch { }.second.highWater, 1e-9)
        assertNull(memory.pss())
    }

    @Test
    fun `a kernel that names no parts of the memory has them in pages`() {
        File(temporary.root, "status").writeText("Name:\tx\nVmHWM:\t 9000 kB\nVmRSS:\t 1200 kB\n")
        File(temporary.root, "statm").writeText("5000 300 200 4 0 100 0\n")
        val memory = ProcMemory(temporary.root)
        assertEquals(MemoryPoint(0.41, 0.819, 0.0), memory.now())
        assertEquals(1.229, memory.watch { }.second.peak.rss, 1e-9)
    }

    /** Android Studio runs these tests on other systems as well. */
    private fun assumeLinux() = assumeTrue("no /proc/self here", File("/proc/self/status").canRead())

    private fun touched(): ByteBuffer = ByteBuffer.allocateDirect(BYTES).also { buffer ->
        for (at in 0 until BYTES step PAGE) buffer.put(at, 1)
    }
}
