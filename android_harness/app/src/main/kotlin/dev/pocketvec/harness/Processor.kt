package dev.pocketvec.harness

import java.io.File
import java.io.IOException

private val CORE = Regex("cpu[0-9]+")
private const val ALLOWED = "Cpus_allowed_list:"

/** Instruction sets as /proc/cpuinfo lists them for the first core. */
internal fun cpuFeatures(cpuInfo: File = File("/proc/cpuinfo")): List<String> =
    textOf(cpuInfo).lineSequence()
        .firstOrNull { it.startsWith("Features") || it.startsWith("flags") }
        ?.substringAfter(':')
        ?.split(' ')
        ?.filter(String::isNotBlank)
        .orEmpty()

/** Highest frequency of each core in order; cores that keep it to themselves are left out. */
internal fun coresMaxFreqKhz(folder: File = File("/sys/devices/system/cpu")): List<Long> =
    folder.listFiles { file -> file.name.matches(CORE) }.orEmpty()
        .sortedBy { it.name.removePrefix("cpu").toInt() }
        .mapNotNull { textOf(File(it, "cpufreq/cpuinfo_max_freq")).trim().toLongOrNull() }

/**
 * Cores that the kernel lets this process run on, such as `0-6`: Android keeps the fastest of many phones for
 * the app on the screen, which an instrumentation is not.
 */
internal fun allowedCores(status: File = File("/proc/self/status")): String? =
    textOf(status).lineSequence()
        .firstOrNull { it.startsWith(ALLOWED) }
        ?.substringAfter(':')
        ?.trim()

private fun textOf(file: File): String = try {
    file.readText()
} catch (_: IOException) {
    ""
}
