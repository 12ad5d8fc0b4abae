package dev.pocketvec.bench

import dev.pocketvec.Artifact
import dev.pocketvec.Embedder
import dev.pocketvec.PocketvecException
import dev.pocketvec.RuntimeFactory
import dev.pocketvec.RuntimeOptions
import dev.pocketvec.Runtimes
import java.io.File
import java.time.Instant
import java.time.temporal.ChronoUnit

/**
 * Does what a job asks for, in this process. One job a process: a second would find the memory of the first.
 *
 * @param root the folder that a job's paths are relative to.
 * @param cache an app's own folder for the runtimes' weight caches, of which it holds one at a time.
 * @param factory the runtime; null for the module on the class path that the artifact asks for.
 */
public class JobRunner(
    private val root: File,
    private val probe: DeviceProbe,
    private val cache: File,
    private val factory: RuntimeFactory? = null,
) {
    /**
     * Measures, embeds, and writes `results/<id>/vectors.f32` and then `result.json`, which is returned.
     *
     * @throws PocketvecException for a job that cannot be done; nothing is left of it then.
     */
    public fun run(job: Job, results: File): File {
        probe.prepare()
        val folder = File(results, job.id)
        if (!folder.isDirectory && !folder.mkdirs()) throw PocketvecException("$folder: cannot be made")
        File(folder, ResultWriter.NAME).delete()
        val measurement = Measurement(ProcMemory(), probe)
        val artifact = Artifact.open(File(root, job.artifact))
        checkLengths(artifact, job)
        val chosen = factory ?: Runtimes.find(artifact.manifest.runtime)
        checkState(chosen, job)
        val weights = WeightCache(cache, job.state, artifact.weightsSha256)
        val options = RuntimeOptions(job.threads, weights.folder)
        return measurement.open(artifact.folder, options, chosen).use { embedder ->
            val cost = measurement.cost(embedder, job, weights::bytes)
            val texts = job.texts?.let { File(root, it) }
            val embedded = EmbeddedTexts(embedder, folder).use { it.write(texts) }
            ResultWriter.write(result(job, embedder, measurement, cost, embedded), folder)
        }
    }

    private fun result(
        job: Job,
        embedder: Embedder,
        measurement: Measurement,
        cost: Cost,
        embedded: EmbeddedTexts.Outcome,
    ): Result = Result(
        job = job.id,
        manifestSha256 = embedder.artifact.manifest.sha256,
        created = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
        target = Target(job.kind, probe.cpu, cores(), job.threads, probe.os),
        device = probe.device(measurement.thermal),
        versions = probe.versions + (embedder.runtimeName to embedder.runtimeVersion),
        costs = mapOf(job.state to cost),
        goldenIdsEqual = embedded.idsEqual,
        rows = embedded.rows,
        dim = embedded.dim,
        faults = embedded.faults,
        notes = measurement.notes,
    )

    private fun cores(): Int = Runtime.getRuntime().availableProcessors()

    private fun checkState(factory: RuntimeFactory, job: Job) {
        if (job.state == Job.NO_CACHE || factory.keepsWeightCache) return
        throw PocketvecException(
            "state '${job.state}': this client keeps no weight cache for ${factory.runtime}; " +
                "ask for ${Job.NO_CACHE}",
        )
    }

    private fun checkLengths(artifact: Artifact, job: Job) {
        val most = artifact.manifest.maxTokens
        val longest = job.lengths.max()
        if (longest > most) {
            throw PocketvecException("length $longest: ${artifact.manifest.name} takes at most $most tokens")
        }
    }
}
