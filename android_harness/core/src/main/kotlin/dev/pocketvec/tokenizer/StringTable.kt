package dev.pocketvec.tokenizer

import java.nio.ByteBuffer
import java.nio.IntBuffer

/** Strings in UTF-8, one behind the other; string i goes from `starts[i]` up to `starts[i + 1]`. */
internal class StringTable(private val starts: IntBuffer, private val content: ByteBuffer) {
    val size: Int = starts.limit() - 1

    operator fun get(index: Int): String {
        val start = starts[index]
        return String(ByteArray(starts[index + 1] - start) { content[start + it] }, Charsets.UTF_8)
    }

    /** The last string that is not above [key] in the order of unsigned bytes; -1 for none. */
    fun lastNotAbove(key: ByteArray): Int {
        var low = 0
        var high = size
        while (low < high) {
            val middle = (low + high) ushr 1
            if (compare(middle, key) <= 0) low = middle + 1 else high = middle
        }
        return low - 1
    }

    /** Whether [key] begins with string [index]. */
    fun begins(key: ByteArray, index: Int): Boolean {
        val start = starts[index]
        val length = starts[index + 1] - start
        return length <= key.size && (0 until length).all { content[start + it] == key[it] }
    }

    private fun compare(index: Int, key: ByteArray): Int {
        val start = starts[index]
        val length = starts[index + 1] - start
        for (offset in 0 until minOf(length, key.size)) {
            val ours = content[start + offset].toInt() and BYTE_MASK
            val theirs = key[offset].toInt() and BYTE_MASK
            if (ours != theirs) return ours - theirs
        }
        return length - key.size
    }

    companion object {
        /** A table in memory. */
        fun of(texts: List<ByteArray>): StringTable {
            val starts = texts.runningFold(0) { end, text -> end + text.size }.toIntArray()
            val content = ByteArray(starts.last())
            texts.forEachIndexed { index, text -> text.copyInto(content, starts[index]) }
            return StringTable(IntBuffer.wrap(starts), ByteBuffer.wrap(content))
        }
    }
}

internal const val BYTE_MASK = 0xFF
