package dev.pocketvec.bench

import dev.pocketvec.Embedder
import dev.pocketvec.Embedder.Tokens
import dev.pocketvec.RuntimeFactory
import dev.pocketvec.RuntimeOptions
import java.io.File
import java.util.Random

private const val FIRST_TEXT = "The quick brown fox jumps over the lazy dog."

/** Runs whose memory is watched: so many, or more of short texts, which are over between two samples. */
private const val RAM_RUNS = 3
private const val RAM_TOKENS = 1000
private const val NANOS_PER_MS = 1e6
private const val TEN_THOUSANDTHS = 1e4

private const val SAMPLED_MARKS =
    "clear_refs is closed to this process: high-water marks are the highest sample, about one a millisecond"

/** Ids below this share of the vocabulary are special tokens and bytes, which texts seldom have. */
private const val COMMON_SHARE = 8

/**
 * What one process costs: the steps of bench/cost.py in their order. Memory comes first, that of the shortest
 * texts before that of longer ones, then times, which nothing watches.
 */
internal class Measurement(private val memory: ProcMemory, private val probe: DeviceProbe) {
    private val pss = LinkedHashMap<String, Pss>()
    private val thermals = ArrayList<Thermal>()

    /** How hot it was at each moment so far. */
    val thermal: List<Thermal> get() = thermals

    /** What was measured otherwise than on a host. */
    val notes: List<String> get() = if (load.isExact) emptyList() else listOf(SAMPLED_MARKS)

    private val start: MemoryPoint
    private lateinit var load: Watched
    private lateinit var first: Watched
    private var loadMs = 0.0
    private var firstMs = 0.0

    init {
        note("start")
        start = memory.now()
    }

    /** Loads runtime, tokenizer and model; the time is that of the latter two. */
    fun open(folder: File, options: RuntimeOptions, factory: RuntimeFactory): Embedder {
        val (embedder, watched) = memory.watch {
            factory.load()
            val began = System.nanoTime()
            Embedder.open(folder, options, factory, selfTest = false).also { loadMs = since(began) }
        }
        load = watched
        note("after_load")
        return embedder
    }

    /** Measures everything else, and puts it together. */
    fun cost(embedder: Embedder, job: Job, cacheBytes: () -> Long): Cost {
        val text = embedder.tokens(FIRST_TEXT, "")
        first = memory.watch { firstMs = once(embedder, text) }.second
        note("after_first")
        val rows = embedder.artifact.manifest.vocabSize
        val texts = job.lengths.toSortedSet().associateWith { randomTokens(it, rows) }
        val runs = texts.mapValues { (length, one) ->
            memory.watch { repeat(maxOf(RAM_RUNS, RAM_TOKENS / length)) { embedder.run(one) } }.second
        }
        note("rest")
        val ram = memory(runs)
        val latency = job.lengths.associateWith { time(embedder, texts.getValue(it), job) }
        note("end")
        return Cost(loadMs, firstMs, latency, ram, cacheBytes(), pss - "end")
    }

    private fun memory(runs: Map<Int, Watched>) = Memory(
        start = start,
        afterLoad = load.end,
        loadPeak = load.peak,
        loadHighWater = load.highWater,
        afterFirst = first.end,
        runPeak = runs.mapValues { it.value.peak },
        runHighWater = runs.mapValues { it.value.highWater },
        anonymousPeak = (runs.values + load + first).maxOf(Watched::anonymous),
        rest = runs.getValue(runs.keys.max()).end,
    )

    private fun time(embedder: Embedder, text: Tokens, job: Job): Timings {
        val warm = MutableList(minOf(LEAST_WARM_UP, job.maxWarmUp)) { once(embedder, text) }
        while (warm.size < job.maxWarmUp && !isSettled(warm)) warm += once(embedder, text)
        return Timings(warm.size, List(job.runs) { once(embedder, text) })
    }

    private fun note(moment: String) {
        probe.pss()?.let { pss[moment] = it }
        probe.thermal(moment)?.let(thermals::add)
    }
}

/**
 * One text of exactly so many tokens, the same ones every time: [Random] with the length as its seed, whose
 * algorithm Java fixes. The host draws others; what they are does not change what they cost.
 */
internal fun randomTokens(length: Int, vocabSize: Int): Tokens {
    val random = Random(length.toLong())
    val lowest = vocabSize / COMMON_SHARE
    return Tokens(IntArray(length) { lowest + random.nextInt(vocabSize - lowest) })
}

private fun once(embedder: Embedder, text: Tokens): Double {
    val began = System.nanoTime()
    embedder.run(text)
    return since(began)
}

private fun since(nanos: Long): Double =
    Math.round((System.nanoTime() - nanos) / NANOS_PER_MS * TEN_THOUSANDTHS) / TEN_THOUSANDTHS
