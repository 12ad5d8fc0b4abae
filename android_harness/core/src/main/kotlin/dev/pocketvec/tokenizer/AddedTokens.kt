package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException
import java.nio.IntBuffer

/** Instead of an index or an id: there is none. 0xFFFFFFFF in a file. */
internal const val NONE = -1

/**
 * One kind of added tokens: finds them in a text, leftmost first, the longest of those.
 *
 * @property texts ascending in the order of their bytes.
 * @property ids of each.
 * @property parents of each: the longest other one that it begins with, or NONE.
 * @property longest code points of the longest one.
 */
internal class AddedTokens(
    private val texts: StringTable,
    private val ids: IntBuffer,
    private val parents: IntBuffer,
    firstCharacters: String,
    private val longest: Int,
) {
    private val firsts: IntArray = firstCharacters.codePoints().sorted().toArray()

    /** Gives [out] the tokens' ids and [stretch] what is between them, in order, until [out] is full. */
    fun cut(text: String, out: IdList, stretch: (String) -> Unit) {
        var done = 0
        var position = if (firsts.isEmpty()) text.length else 0
        while (position < text.length && !out.isFull) {
            val code = text.codePointAt(position)
            val index = if (firsts.binarySearch(code) >= 0) longestAt(text, position) else NONE
            if (index == NONE) {
                position += Character.charCount(code)
                continue
            }
            if (position > done) stretch(text.substring(done, position))
            out.add(ids[index])
            position += texts[index].length
            done = position
        }
        if (done < text.length && !out.isFull) stretch(text.substring(done))
    }

    /**
     * Index of the longest token that begins at [position], or NONE.
     *
     * The last token at or below the text in byte order begins with every token that the text begins with, so
     * that the longest of these is it or one of its parents.
     */
    private fun longestAt(text: String, position: Int): Int {
        val key = text.substring(position, text.afterCodePoints(position, longest)).toByteArray()
        var index = texts.lastNotAbove(key)
        while (index >= 0 && !texts.begins(key, index)) {
            val parent = parents[index]
            if (parent >= index) throw PocketvecException("added token $index: its parent is no earlier one")
            index = parent
        }
        return index
    }

    companion object {
        /** From tokens in memory: id by text, none of them empty. */
        fun of(tokens: Map<String, Int>): AddedTokens {
            val rows = tokens.keys.associateBy { it.toByteArray() }.toSortedMap(::order)
            val texts = StringTable.of(rows.keys.toList())
            return AddedTokens(
                texts,
                IntBuffer.wrap(rows.values.map(tokens::getValue).toIntArray()),
                IntBuffer.wrap(parents(texts, rows.keys.toList())),
                tokens.keys.map { String(Character.toChars(it.codePointAt(0))) }.distinct().joinToString(""),
                tokens.keys.maxOfOrNull { it.codePointCount(0, it.length) } ?: 0,
            )
        }

        private fun parents(texts: StringTable, rows: List<ByteArray>): IntArray {
            val parents = IntArray(rows.size)
            for (index in rows.indices) {
                var parent = index - 1
                while (parent >= 0 && !texts.begins(rows[index], parent)) parent = parents[parent]
                parents[index] = parent
            }
            return parents
        }

        private fun order(left: ByteArray, right: ByteArray): Int {
            val different = (0 until minOf(left.size, right.size)).firstOrNull { left[it] != right[it] }
            return different?.let { (left[it].toInt() and BYTE_MASK) - (right[it].toInt() and BYTE_MASK) }
                ?: (left.size - right.size)
        }
    }
}
