package dev.pocketvec

import java.util.Locale
import kotlin.math.sqrt

/**
 * Least cosine to a golden vector by precision, others as for 4 bits. Wide enough for the kernels of any
 * processor and for a small model in 4 bits (whose worst golden text has 0.86), narrow enough for other
 * weights, a wrong prompt or a wrong pooling. What a profile must hold to ship is stricter: gates.toml.
 */
private val LEAST_COSINE = mapOf("fp32" to 0.9999, "q8_0" to 0.99, "int8" to 0.99)
private const val LEAST_COSINE_4_BITS = 0.8

/** Shorter texts say little; longer ones take long. */
private const val LEAST_CHARACTERS = 20
private const val MOST_TOKENS = 64
private const val SHOWN_CHARACTERS = 40

/** Cosine of two vectors of one length, in double precision; -1 where a number is not finite. */
internal fun cosine(left: FloatArray, right: FloatArray): Double {
    var dot = 0.0
    var leftSquare = 0.0
    var rightSquare = 0.0
    for (index in left.indices) {
        dot += left[index].toDouble() * right[index]
        leftSquare += left[index].toDouble() * left[index]
        rightSquare += right[index].toDouble() * right[index]
    }
    val norms = sqrt(leftSquare) * sqrt(rightSquare)
    val found = dot / if (norms > 0) norms else 1.0
    return if (found.isNaN() || found.isInfinite()) -1.0 else found
}

/** The least cosine of a right client to a golden vector. */
internal fun leastCosine(precision: String): Double = LEAST_COSINE[precision] ?: LEAST_COSINE_4_BITS

/** The golden text to try a client with: the first one of a sentence's length, or else the very first. */
internal fun selfTestText(artifact: Artifact): GoldenText = GoldenFile.stream(artifact.folder) { texts ->
    var first: GoldenText? = null
    texts.firstOrNull { one ->
        first = first ?: one
        one.text.length >= LEAST_CHARACTERS && one.ids.size <= MOST_TOKENS
    } ?: first ?: throw PocketvecException("${artifact.folder}: no golden texts")
}

/** Throws [PocketvecException] unless [ids] and [vector] are near what the golden text says. */
internal fun checkGolden(artifact: Artifact, golden: GoldenText, ids: IntArray, vector: FloatArray) {
    val place = "${artifact.folder}: self-test: text '${golden.text.take(SHOWN_CHARACTERS)}'"
    if (!ids.contentEquals(golden.ids)) {
        throw PocketvecException("$place: the tokenizer gives other ids than the model's; its file is wrong")
    }
    if (vector.size != golden.vector.size) {
        throw PocketvecException("$place: the model gives ${vector.size} numbers, not ${golden.vector.size}")
    }
    val found = cosine(vector, golden.vector)
    val precision = artifact.manifest.precision
    val least = leastCosine(precision)
    if (found >= least) return
    throw PocketvecException(
        "$place: cosine ${"%.4f".format(Locale.ROOT, found)} to its golden vector, $precision gives " +
            "at least $least; the weights are another model's, or this runtime computes them wrongly here",
    )
}
