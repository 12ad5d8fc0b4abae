package dev.pocketvec.bench

import dev.pocketvec.JsonFields
import dev.pocketvec.PocketvecException
import java.io.File

/**
 * One artifact and what is asked of it, as the driver on the host wrote it (android_harness/protocol.py).
 *
 * @property id digest of all that the answer depends on; the result's folder is named after it.
 * @property kind what the target is to the driver: host, emulated or device.
 * @property artifact path of the artifact's folder, relative to the root.
 * @property state of the runtime's weight cache: none, build or warm. A process measures one.
 * @property lengths of the timed texts, in tokens.
 * @property runs timed ones of each length, after at most [maxWarmUp].
 * @property texts path of further texts to embed, relative to the root; null for the golden ones alone.
 */
public class Job internal constructor(fields: JsonFields, place: String) {
    public val id: String = fields.string("id")
    public val kind: String = fields.string("kind")
    public val artifact: String = fields.string("artifact")
    public val state: String = fields.strings("states").singleOrNull()
        ?: throw PocketvecException("$place: states must be one alone, since a process has one")
    public val lengths: List<Int> = fields.ints("lengths").toList()
    public val runs: Int = fields.int("runs")
    public val threads: Int = fields.int("threads")
    public val maxWarmUp: Int = fields.int("max_warm_up")
    public val texts: String? = fields.ifThere("texts") { string(it) }

    public companion object {
        public const val SCHEMA: String = "pocketvec.job/1"
        public const val NO_CACHE: String = "none"
        public const val BUILD_CACHE: String = "build"
        public const val WARM_CACHE: String = "warm"
        private val KINDS = listOf("host", "emulated", "device")
        private val STATES = listOf(NO_CACHE, BUILD_CACHE, WARM_CACHE)
        private val ID = Regex("[0-9a-zA-Z_-]+")

        /**
         * Reads a job file.
         *
         * @throws PocketvecException naming the file and the field when it is absent or damaged.
         */
        @JvmStatic
        public fun read(file: File): Job {
            if (!file.isFile) throw PocketvecException("$file: no such file")
            val fields = JsonFields.parse(file.readText(), "$file")
            val schema = fields.string("schema")
            if (schema != SCHEMA) throw PocketvecException("$file: schema '$schema' is not '$SCHEMA'")
            return Job(fields, "$file").also { check(it, file) }
        }

        private fun check(job: Job, file: File) {
            fun demand(isRight: Boolean, what: () -> String) {
                if (!isRight) throw PocketvecException("$file: ${what()}")
            }
            demand(job.id.matches(ID)) { "id '${job.id}': letters, digits, - and _ alone, it names a folder" }
            demand(job.kind in KINDS) { "kind '${job.kind}': one of ${KINDS.joinToString()}" }
            demand(job.state in STATES) { "state '${job.state}': one of ${STATES.joinToString()}" }
            demand(job.lengths.isNotEmpty()) { "lengths: at least one" }
            demand(job.lengths.all { it > 0 }) { "lengths ${job.lengths}: all positive" }
            demand(job.runs > 0) { "runs ${job.runs}: at least 1" }
            demand(job.threads > 0) { "threads ${job.threads}: at least 1" }
        }
    }
}
