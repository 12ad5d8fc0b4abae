package dev.pocketvec.litert

import dev.pocketvec.PocketvecException
import java.io.File
import java.security.MessageDigest

/**
 * XNNPACK's packed weights in a file, trusted only when it is known to be this model's.
 *
 * XNNPACK looks packed weights up by tensor number, so that it would take the file of another model of the
 * same shape and give wrong vectors. The file is therefore named after all that it depends on, and a record
 * beside it, written when the build is over, holds its size: a build that was cut short is done again.
 */
internal class WeightCacheFile(private val folder: File, key: String) {
    private val name = sha256(key).take(NAME_DIGITS)
    private val file = File(folder, name + SUFFIX)
    private val record = File(folder, name + RECORD_SUFFIX)

    /** Whether a finished cache lies there. */
    val isValid: Boolean
        get() = file.isFile && record.isFile && record.readText() == "${file.length()}"

    /**
     * The file to hand to LiteRT, which fills it when it is not there.
     *
     * @throws PocketvecException when the folder cannot be written.
     */
    fun prepare(): File {
        if (isValid) {
            file.setLastModified(System.currentTimeMillis())
            return file
        }
        if (!folder.isDirectory && !folder.mkdirs()) {
            throw PocketvecException("$folder: cannot hold the weight cache; choose another folder")
        }
        discard()
        makeRoom()
        return file
    }

    /** Records a cache that LiteRT has just built. */
    fun seal() {
        if (file.isFile && !isValid) record.writeText("${file.length()}")
    }

    /** Removes the cache, finished or not. */
    fun discard() {
        record.delete()
        file.delete()
    }

    /** Caches of models that are no longer used go, the longest unused first. */
    private fun makeRoom() {
        var total = 0L
        val caches = folder.listFiles { _, name -> name.endsWith(SUFFIX) } ?: return
        for (cache in caches.sortedByDescending(File::lastModified)) {
            total += cache.length()
            if (total <= MOST_BYTES) continue
            File(folder, cache.name.removeSuffix(SUFFIX) + RECORD_SUFFIX).delete()
            cache.delete()
        }
    }

    private companion object {
        const val SUFFIX = ".xnnpack"
        const val RECORD_SUFFIX = ".bytes"
        const val NAME_DIGITS = 24
        const val MOST_BYTES = 1_000_000_000L
    }
}

/** Architecture and instruction sets of this processor: XNNPACK packs for them. */
internal fun processorFeatures(cpuInfo: File = File("/proc/cpuinfo")): String {
    val wanted = listOf("Features", "flags", "CPU part", "model name")
    val lines = if (cpuInfo.canRead()) cpuInfo.readLines() else emptyList()
    val kept = lines.filter { line -> wanted.any(line::startsWith) }.distinct()
    return sha256((listOf(System.getProperty("os.arch")) + kept).joinToString("\n")).take(16)
}

private fun sha256(text: String): String =
    MessageDigest.getInstance("SHA-256").digest(text.toByteArray()).joinToString("") { "%02x".format(it) }
