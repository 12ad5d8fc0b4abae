package dev.pocketvec.harness

import android.os.Debug
import dev.pocketvec.bench.Pss

private const val BYTES_PER_KB = 1024.0
private const val BYTES_PER_MB = 1e6

/** Android's own account of this process. It takes tens of milliseconds: the kernel walks all mappings. */
internal fun appMemory(): Pss {
    val info = Debug.MemoryInfo()
    Debug.getMemoryInfo(info)
    return Pss(
        total = megabytes(info.totalPss),
        privateDirty = megabytes(info.totalPrivateDirty),
        privateClean = megabytes(info.totalPrivateClean),
    )
}

private fun megabytes(kilobytes: Int): Double = kilobytes * BYTES_PER_KB / BYTES_PER_MB
