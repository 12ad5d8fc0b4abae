package dev.pocketvec.bench

/** Resident memory at one moment by who can take it back, in MB (10^6 bytes). */
public data class MemoryPoint(
    public val anonymous: Double,
    public val fileBacked: Double,
    public val shared: Double,
) {
    /** All of it. */
    public val rss: Double get() = anonymous + fileBacked + shared
}

/** The memory of one process in MB; fields as in bench/measurements.py, maps by length in tokens. */
public class Memory(
    public val start: MemoryPoint,
    public val afterLoad: MemoryPoint,
    public val loadPeak: MemoryPoint,
    public val loadHighWater: Double,
    public val afterFirst: MemoryPoint,
    public val runPeak: Map<Int, MemoryPoint>,
    public val runHighWater: Map<Int, Double>,
    public val anonymousPeak: Double,
    public val rest: MemoryPoint,
)

/** Milliseconds of every timed inference of one text, in order, after [warmUp] others. */
public class Timings(public val warmUp: Int, public val ms: List<Double>) {
    /** A quantile by linear interpolation, for screens; the host computes its own from [ms]. */
    public fun quantile(share: Double): Double = quantile(ms, share)
}

/** Android's account of a process in MB: proportional set size, private dirty and private clean pages. */
public data class Pss(
    public val total: Double,
    public val privateDirty: Double,
    public val privateClean: Double,
)

/** What one fresh process cost in one state of the weight cache; times in milliseconds. */
public class Cost(
    public val loadMs: Double,
    public val firstMs: Double,
    public val latencyMs: Map<Int, Timings>,
    public val ramMb: Memory,
    public val cacheBytes: Long,
    public val pssMb: Map<String, Pss>,
)

/** How hot the phone was at a moment; null for what it does not tell. */
public data class Thermal(public val moment: String, public val status: Int?, public val headroom: Double?)

/** The phone; fields carry android.os.Build's values, and null what could not be read. */
public data class Device(
    public val brand: String,
    public val model: String,
    public val device: String,
    public val fingerprint: String,
    public val release: String,
    public val sdk: Int?,
    public val abi: String,
    public val soc: String? = null,
    public val cpuFeatures: List<String> = emptyList(),
    public val cpuMaxFreqKhz: List<Long> = emptyList(),
    public val pageSizeBytes: Long? = null,
    public val memTotalBytes: Long? = null,
    public val batteryPercent: Int? = null,
    public val charging: Boolean? = null,
    public val affinity: String? = null,
    public val thermal: List<Thermal> = emptyList(),
)

/** What ran: host, emulated or device; its processor, system and thread count. */
public data class Target(
    public val kind: String,
    public val cpu: String,
    public val cores: Int,
    public val threads: Int,
    public val os: String,
)

/** A structural fault by name, with what shows it in one line. */
public data class Fault(public val name: String, public val evidence: String)

/**
 * What one job gave; fields as in android_harness/protocol.py.
 *
 * @property notes what was measured differently here, a line each.
 */
public class Result(
    public val job: String,
    public val manifestSha256: String,
    public val created: String,
    public val target: Target,
    public val device: Device?,
    public val versions: Map<String, String>,
    public val costs: Map<String, Cost>,
    public val goldenIdsEqual: List<Boolean>,
    public val rows: Int,
    public val dim: Int,
    public val faults: List<Fault>,
    public val notes: List<String> = emptyList(),
)
