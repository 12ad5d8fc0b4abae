package dev.pocketvec.bench

import dev.pocketvec.PocketvecException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.io.File

/** Writes result.json in the schema that the host reads strictly: every number finite, nothing beside it. */
public object ResultWriter {
    public const val SCHEMA: String = "pocketvec.result/1"
    public const val NAME: String = "result.json"

    /** The shell's client is Python; this one is the app's, wherever it runs. */
    public const val CLIENT: String = "app"
    private val pretty = Json { prettyPrint = true }

    /** Writes it whole or not at all: under a temporary name, then renamed. */
    public fun write(result: Result, folder: File): File {
        val temporary = File(folder, ".$NAME.tmp")
        temporary.writeText(pretty.encodeToString(JsonElement.serializer(), json(result)) + "\n")
        return renamed(temporary, File(folder, NAME))
    }

    private fun json(result: Result): JsonObject = fields(
        "schema" to SCHEMA,
        "job" to result.job,
        "manifest_sha256" to result.manifestSha256,
        "created" to result.created,
        "client" to CLIENT,
        "target" to result.target.run {
            fields("kind" to kind, "cpu" to cpu, "cores" to cores, "threads" to threads, "os" to os)
        },
        "device" to result.device?.let(::device),
        "versions" to result.versions,
        "costs" to result.costs.mapValues { cost(it.value) },
        "golden_ids_equal" to result.goldenIdsEqual,
        "rows" to result.rows,
        "dim" to result.dim,
        "faults" to result.faults.map { fields("name" to it.name, "evidence" to it.evidence) },
        "notes" to result.notes,
    )

    private fun cost(cost: Cost): JsonObject = fields(
        "load_ms" to cost.loadMs,
        "first_ms" to cost.firstMs,
        "latency_ms" to cost.latencyMs.mapValues { (_, it) -> fields("warm_up" to it.warmUp, "ms" to it.ms) },
        "ram_mb" to memory(cost.ramMb),
        "cache_bytes" to cost.cacheBytes,
        "pss_mb" to cost.pssMb.mapValues { (_, one) ->
            fields(
                "total" to one.total,
                "private_dirty" to one.privateDirty,
                "private_clean" to one.privateClean,
            )
        },
    )

    private fun memory(memory: Memory): JsonObject = fields(
        "start" to point(memory.start),
        "after_load" to point(memory.afterLoad),
        "load_peak" to point(memory.loadPeak),
        "load_high_water" to memory.loadHighWater,
        "after_first" to point(memory.afterFirst),
        "run_peak" to memory.runPeak.mapValues { point(it.value) },
        "run_high_water" to memory.runHighWater,
        "anonymous_peak" to memory.anonymousPeak,
        "rest" to point(memory.rest),
    )

    private fun point(point: MemoryPoint): JsonObject =
        fields("anonymous" to point.anonymous, "file_backed" to point.fileBacked, "shared" to point.shared)

    private fun device(device: Device): JsonObject = fields(
        "brand" to device.brand,
        "model" to device.model,
        "device" to device.device,
        "fingerprint" to device.fingerprint,
        "release" to device.release,
        "sdk" to device.sdk,
        "abi" to device.abi,
        "soc" to device.soc,
        "cpu_features" to device.cpuFeatures,
        "cpu_max_freq_khz" to device.cpuMaxFreqKhz,
        "page_size_bytes" to device.pageSizeBytes,
        "mem_total_bytes" to device.memTotalBytes,
        "battery_percent" to device.batteryPercent,
        "charging" to device.charging,
        "affinity" to device.affinity,
        "thermal" to device.thermal.map(::thermal),
    )

    private fun thermal(thermal: Thermal): JsonObject = fields(
        "moment" to thermal.moment,
        "status" to thermal.status,
        // NaN is what Android gives to whoever asks more than once a second or so
        "headroom" to thermal.headroom?.takeIf(Double::isFinite),
    )

    private fun fields(vararg entries: Pair<String, Any?>): JsonObject =
        JsonObject(entries.associate { (name, value) -> name to element(name, value) })

    private fun element(name: String, value: Any?): JsonElement = when (value) {
        null -> JsonNull
        is JsonElement -> value
        is String -> JsonPrimitive(value)
        is Boolean -> JsonPrimitive(value)
        is Double -> finite(name, value)
        is Number -> JsonPrimitive(value)
        is List<*> -> JsonArray(value.map { element(name, it) })
        is Map<*, *> -> JsonObject(value.entries.associate { (key, x) -> "$key" to element("$name $key", x) })
        else -> throw IllegalArgumentException("$name: ${value.javaClass} has no JSON form")
    }

    private fun finite(name: String, value: Double): JsonPrimitive =
        if (value.isFinite()) JsonPrimitive(value) else throw PocketvecException("result: $name is $value")
}

/** The file under its final name, which it takes in one step. */
internal fun renamed(temporary: File, final: File): File {
    if (!temporary.renameTo(final)) throw PocketvecException("$final: cannot be written")
    return final
}
