package dev.pocketvec.tokenizer

private const val HEXADECIMAL = 16

/** Calls [action] with each code point. */
internal inline fun String.forEachCodePoint(action: (Int) -> Unit) {
    var position = 0
    while (position < length) {
        val code = codePointAt(position)
        action(code)
        position += Character.charCount(code)
    }
}

/** The position [count] code points behind [start], or the end if there are fewer. */
internal fun String.afterCodePoints(start: Int, count: Int): Int {
    var position = start
    var left = count
    while (left > 0 && position < length) {
        position += Character.charCount(codePointAt(position))
        left--
    }
    return position
}

/** A set of code points written as ascending hexadecimal ranges: "9-d 20 a0". */
internal class CodePointRanges(ranges: String) {
    private val firsts: IntArray
    private val lasts: IntArray

    init {
        val parts = ranges.split(' ').map { it.split('-') }
        firsts = IntArray(parts.size) { parts[it].first().toInt(HEXADECIMAL) }
        lasts = IntArray(parts.size) { parts[it].last().toInt(HEXADECIMAL) }
    }

    operator fun contains(code: Int): Boolean {
        if (code < firsts[0] || code > lasts.last()) return false
        return code <= lasts[rangeAtOrBelow(firsts, code)]
    }
}

/** A map of code points: "41-5a+20 100-12e/2+1" moves A to Z by 20, and every second one from 100 by 1. */
internal class CodePointMoves(moves: String) {
    private val firsts: IntArray
    private val lasts: IntArray
    private val steps: IntArray
    private val distances: IntArray

    init {
        val form = Regex("""([0-9a-f]+)(?:-([0-9a-f]+))?(?:/(\d))?([+-][0-9a-f]+)""")
        val parts = moves.split(' ').map { form.matchEntire(it)?.groupValues ?: error("'$it' is no move") }
        firsts = IntArray(parts.size) { parts[it][1].toInt(HEXADECIMAL) }
        lasts = IntArray(parts.size) { parts[it][2].ifEmpty { parts[it][1] }.toInt(HEXADECIMAL) }
        steps = IntArray(parts.size) { parts[it][3].ifEmpty { "1" }.toInt() }
        distances = IntArray(parts.size) { parts[it][4].toInt(HEXADECIMAL) }
    }

    /** Where [code] goes: itself if nothing moves it. */
    operator fun get(code: Int): Int {
        if (code < firsts[0]) return code
        val index = rangeAtOrBelow(firsts, code)
        val moves = code <= lasts[index] && (code - firsts[index]) % steps[index] == 0
        return if (moves) code + distances[index] else code
    }
}

/** Index of the last of [firsts] that is not above [code], which is not below the first. */
private fun rangeAtOrBelow(firsts: IntArray, code: Int): Int {
    val index = firsts.binarySearch(code)
    return if (index >= 0) index else -index - 2
}
