package dev.pocketvec.bench

import dev.pocketvec.Embedder
import dev.pocketvec.PocketvecException
import kotlin.math.abs
import kotlin.math.sqrt

/** How far a vector's norm may be from 1; as on the host (bench/sanity.py). */
private const val UNIT_TOLERANCE = 1e-3

/** What must hold of any embedding model, whatever its vectors should be; the first of each fault is kept. */
internal class Structure(private val embedder: Embedder) {
    private val found = LinkedHashMap<String, Fault>()
    private val dim = embedder.artifact.manifest.dim

    val faults: List<Fault> get() = found.values.toList()

    /** Checks one vector as the model gave it. */
    fun check(vector: FloatArray) {
        if (vector.size != dim) note("width-wrong", "the model gives ${vector.size} numbers, not $dim")
        if (vector.any { !it.isFinite() }) return note("not-finite", "a vector holds NaN or infinity")
        val norm = sqrt(vector.sumOf { it.toDouble() * it })
        if (abs(norm - 1) > UNIT_TOLERANCE) note("not-normalised", "a vector's norm is $norm, not 1")
    }

    /** A text that gave no vector. */
    fun checkFailure(text: String, error: RuntimeException): Unit =
        note("does-not-run", "'${text.take(SHOWN_CHARACTERS)}': ${error.message}")

    /** The same ids twice must give the same vector; ids without a row in the token table none. */
    fun checkRuns(tokens: Embedder.Tokens) {
        if (!embedder.run(tokens).contentEquals(embedder.run(tokens))) {
            note("nondeterministic", "a text of ${tokens.ids.size} tokens moves when run again")
        }
        val rows = embedder.artifact.manifest.vocabSize
        for (id in listOf(rows, -1)) {
            if (isAccepted(id)) note("out-of-range-ids-accepted", "id $id of $rows rows gives a vector")
        }
    }

    private fun isAccepted(id: Int): Boolean = try {
        embedder.run(Embedder.Tokens(intArrayOf(id)))
        true
    } catch (_: PocketvecException) {
        false
    }

    private fun note(name: String, evidence: String) {
        found.getOrPut(name) { Fault(name, evidence) }
    }

    private companion object {
        const val SHOWN_CHARACTERS = 40
    }
}
