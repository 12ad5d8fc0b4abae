package dev.pocketvec.bench

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.util.concurrent.locks.LockSupport
import kotlin.concurrent.thread

private const val KB = 1024L
private const val BYTES_PER_MB = 1_000_000.0
private const val STATUS_BYTES = 4096
private const val SAMPLE_NANOS = 1_000_000L
private const val RESET_HIGH_WATER = "5"
private const val DECIMALS = 1000.0

/** One reading of /proc/self/status, in bytes. */
internal class Status(val anonymous: Long, val fileBacked: Long, val shared: Long, val highWater: Long) {
    val rss: Long get() = anonymous + fileBacked + shared

    fun point(): MemoryPoint = MemoryPoint(megabytes(anonymous), megabytes(fileBacked), megabytes(shared))
}

/** Memory in MB while something ran, as in bench/worker.py; exact: the kernel's own mark was set back. */
internal class Watched(
    val peak: MemoryPoint,
    val anonymous: Double,
    val highWater: Double,
    val end: MemoryPoint,
    val isExact: Boolean,
)

/**
 * The kernel's memory counters of this process, and their peak while something runs.
 *
 * A thread of this process reads the counters once a millisecond or so; what it costs itself (some KB) is in
 * them. The kernel's own high-water mark is set back before each part where that is permitted, by writing to
 * clear_refs; apps that are not debuggable may not, and the mark is the highest sample then.
 */
public class ProcMemory(private val process: File = File("/proc/self")) {
    /** Where the counters stand now. */
    public fun now(): MemoryPoint = open().use { it.read().point() }

    /** Proportional set size of this process; null on kernels without smaps_rollup, or where it is closed. */
    public fun pss(): Pss? {
        val fields = try {
            File(process, "smaps_rollup").readLines().associate(::field)
        } catch (_: IOException) {
            return null
        }
        fun megabytesOf(name: String) = fields[name]?.let(::megabytes)
        return Pss(
            megabytesOf("Pss") ?: return null,
            megabytesOf("Private_Dirty") ?: return null,
            megabytesOf("Private_Clean") ?: return null,
        )
    }

    /** Runs [action] with the counters sampled beside it. */
    internal fun <T> watch(action: () -> T): Pair<T, Watched> = open().use { file ->
        val isReset = resetHighWater()
        val sampler = Sampler(file)
        val result = try {
            action()
        } finally {
            sampler.stop()
        }
        result to sampler.watched(isReset)
    }

    private fun resetHighWater(): Boolean = try {
        File(process, "clear_refs").writeText(RESET_HIGH_WATER)
        true
    } catch (_: IOException) {
        false
    }

    private fun open() = StatusFile(process)
}

/**
 * /proc/self/status kept open; reading it again allocates nothing but the reading.
 *
 * Kernels before 4.5, which phones up to Android 11 have, name no parts of the resident memory there. Their
 * statm has two, since shared memory counts as files' pages with them.
 */
private class StatusFile(process: File) : Closeable {
    private val file = RandomAccessFile(File(process, "status"), "r")
    private val bytes = ByteArray(STATUS_BYTES)
    private val pages: RandomAccessFile? =
        if (value("RssAnon:", fill(file)) == NO_LINE) RandomAccessFile(File(process, "statm"), "r") else null

    @Synchronized
    fun read(): Status {
        val length = fill(file)
        val highWater = value("VmHWM:", length)
        if (pages != null) return parts(fill(pages), highWater)
        return Status(
            value("RssAnon:", length),
            value("RssFile:", length),
            value("RssShmem:", length),
            highWater,
        )
    }

    private fun fill(from: RandomAccessFile): Int {
        from.seek(0)
        return from.read(bytes)
    }

    /** Of statm's numbers the second is all resident pages and the third those of files. */
    private fun parts(length: Int, highWater: Long): Status {
        val resident = word(1, length) * OLD_PAGE_BYTES
        val ofFiles = word(2, length) * OLD_PAGE_BYTES
        return Status(resident - ofFiles, ofFiles, 0, highWater)
    }

    private fun word(index: Int, length: Int): Long {
        var at = 0
        repeat(index) {
            while (at < length && bytes[at] != SPACE) at++
            at++
        }
        return number(at, length)
    }

    /** The number of a line `name   123 kB`, in bytes; NO_LINE where there is none. */
    private fun value(name: String, length: Int): Long {
        var at = 0
        while (at < length) {
            if (startsWith(name, at, length)) return number(at + name.length, length) * KB
            while (at < length && bytes[at] != NEWLINE) at++
            at++
        }
        return NO_LINE
    }

    private fun startsWith(name: String, at: Int, length: Int): Boolean =
        at + name.length < length && name.indices.all { bytes[at + it] == name[it].code.toByte() }

    private fun number(from: Int, length: Int): Long {
        var sum = 0L
        for (at in from until length) {
            val digit = bytes[at] - ZERO
            if (digit in 0..9) sum = sum * 10 + digit else if (bytes[at] == NEWLINE || sum > 0) break
        }
        return sum
    }

    override fun close() {
        file.close()
        pages?.close()
    }

    private companion object {
        /** Larger pages came to phones long after such kernels. */
        const val OLD_PAGE_BYTES = 4096L
        const val NO_LINE = -1L
        const val NEWLINE = '\n'.code.toByte()
        const val SPACE = ' '.code.toByte()
        const val ZERO = '0'.code.toByte()
    }
}

private class Sampler(private val file: StatusFile) {
    private var peak = file.read()
    private var anonymous = peak.anonymous
    private var end = peak

    @Volatile
    private var isOver = false
    private val worker = thread(isDaemon = true, name = "memory") {
        while (!isOver) {
            note(file.read())
            LockSupport.parkNanos(SAMPLE_NANOS)
        }
    }

    /** The reading at the end counts as a sample. */
    fun stop() {
        end = file.read()
        isOver = true
        worker.join()
        note(end)
    }

    fun watched(isReset: Boolean): Watched {
        val top = peak.point()
        val marked = if (isReset) maxOf(megabytes(end.highWater), top.rss) else top.rss
        return Watched(top, megabytes(anonymous), marked, end.point(), isReset)
    }

    private fun note(status: Status) {
        if (status.rss > peak.rss) peak = status
        anonymous = maxOf(anonymous, status.anonymous)
    }
}

private fun field(line: String): Pair<String, Long> {
    val words = line.split(Regex("[:\\s]+"))
    return words[0] to (words.getOrNull(1)?.toLongOrNull() ?: 0L) * KB
}

private fun megabytes(bytes: Long): Double = Math.round(bytes / BYTES_PER_MB * DECIMALS) / DECIMALS
