package dev.pocketvec.tokenizer

/** A vocabulary as one string and two arrays of numbers, looked up by bisection. */
internal class PieceTable(vocabulary: Map<String, Int>) {
    private val starts: IntArray
    private val ids: IntArray
    private val characters: String

    init {
        val pieces = vocabulary.keys.sorted()
        starts = pieces.runningFold(0) { end, piece -> end + piece.length }.toIntArray()
        ids = IntArray(pieces.size) { vocabulary.getValue(pieces[it]) }
        characters = pieces.joinToString("")
    }

    /** The id of [prefix] with `word[start, end)` behind it, or NONE. */
    fun find(prefix: String, word: String, start: Int, end: Int): Int {
        val length = prefix.length + end - start
        var low = 0
        var high = ids.size
        while (low < high) {
            val middle = (low + high) ushr 1
            val order = compare(middle, length) {
                if (it < prefix.length) prefix[it] else word[start + it - prefix.length]
            }
            if (order == 0) return ids[middle]
            if (order < 0) low = middle + 1 else high = middle
        }
        return NONE
    }

    private inline fun compare(index: Int, length: Int, key: (Int) -> Char): Int {
        val ours = starts[index + 1] - starts[index]
        for (offset in 0 until minOf(ours, length)) {
            val order = characters[starts[index] + offset].compareTo(key(offset))
            if (order != 0) return order
        }
        return ours - length
    }
}
