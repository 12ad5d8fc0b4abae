package dev.pocketvec.litert

import dev.pocketvec.PocketvecException

/** The input lengths that a .tflite was compiled for, ascending, and how a text is put into one of them. */
internal class Signatures(private val lengths: List<Int>, private val padId: Int) {
    /**
     * The place of the shortest signature that holds so many tokens.
     *
     * @throws PocketvecException when none does.
     */
    fun shortestFor(tokens: Int): Int {
        val index = lengths.indexOfFirst { tokens <= it }
        if (index >= 0) return index
        throw PocketvecException("$tokens tokens: the longest signature takes ${lengths.lastOrNull() ?: 0}")
    }

    /** Token ids with padding behind them, as long as the signature. */
    fun padded(ids: IntArray, signature: Int): IntArray {
        val filled = IntArray(lengths[signature]) { padId }
        ids.copyInto(filled)
        return filled
    }
}
