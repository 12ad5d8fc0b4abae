package dev.pocketvec.bench

import java.io.File

/** A JVM on Linux: tests, and jobs on a machine that is no phone. */
public class HostProbe(private val memory: ProcMemory = ProcMemory()) : DeviceProbe {
    override val cpu: String
        get() = File("/proc/cpuinfo").useLines { lines ->
            lines.firstOrNull { line -> CPU_KEYS.any(line::startsWith) }?.substringAfter(':')?.trim()
        } ?: System.getProperty("os.arch").orEmpty()

    override val os: String get() = "${System.getProperty("os.name")} ${System.getProperty("os.version")}"

    override val versions: Map<String, String>
        get() = mapOf("java" to System.getProperty("java.version").orEmpty())

    override fun thermal(moment: String): Thermal? = null

    override fun pss(): Pss? = memory.pss()

    override fun device(thermal: List<Thermal>): Device? = null

    private companion object {
        val CPU_KEYS = listOf("model name", "Hardware")
    }
}
