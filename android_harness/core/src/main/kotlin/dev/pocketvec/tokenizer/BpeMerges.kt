package dev.pocketvec.tokenizer

import java.nio.IntBuffer
import java.nio.LongBuffer

private const val ID_BITS = 21
private const val ID_MASK = (1L shl ID_BITS) - 1
private const val RIGHT_SHIFT = 2 * ID_BITS
private const val RANK_AND_ID = (1L shl RIGHT_SHIFT) - 1
private const val NO_MERGE = -1L
private const val GONE = -1

/**
 * The merges, which are looked up where the file lies.
 *
 * @property starts where the merges with each left id begin in [records].
 * @property records in each such range ascending: right id, rank and new id, 21 bits each.
 */
internal class BpeMerges(private val starts: IntBuffer, private val records: LongBuffer) {
    /** Merges neighbours in [ids], lowest rank first and leftmost among equals, until none can be merged. */
    fun merge(ids: IntArray): IntArray {
        if (ids.size > 1) Run(ids).merge()
        return ids.filterNotGone()
    }

    /** Rank and new id of the merge of two neighbours, or NO_MERGE. */
    private fun find(left: Int, right: Int): Long {
        val end = starts[left + 1]
        val wanted = right.toLong() shl RIGHT_SHIFT
        var low = starts[left]
        var high = end
        while (low < high) {
            val middle = (low + high) ushr 1
            if (records[middle] < wanted) low = middle + 1 else high = middle
        }
        val record = if (low < end) records[low] else return NO_MERGE
        return if (record ushr RIGHT_SHIFT == right.toLong()) record and RANK_AND_ID else NO_MERGE
    }

    private fun IntArray.filterNotGone(): IntArray {
        var count = 0
        for (id in this) if (id != GONE) this[count++] = id
        return copyOf(count)
    }

    /** One stretch: its symbols as a doubly linked list, and the candidates in a heap. */
    private inner class Run(private val ids: IntArray) {
        private val after = IntArray(ids.size) { if (it + 1 < ids.size) it + 1 else GONE }
        private val before = IntArray(ids.size) { it - 1 }
        private val candidates = LongHeap(ids.size)

        fun merge() {
            for (position in 0 until ids.size - 1) propose(position)
            while (!candidates.isEmpty) {
                val candidate = candidates.poll()
                join(position = candidate.toInt(), rank = candidate ushr Int.SIZE_BITS)
            }
        }

        /** Enters the pair that begins at [position]: in the heap's order rank comes first, then position. */
        private fun propose(position: Int) {
            val merge = find(ids[position], ids[after[position]])
            if (merge != NO_MERGE) candidates.add((merge ushr ID_BITS shl Int.SIZE_BITS) or position.toLong())
        }

        /** Merges the pair at [position] if it still is the one of that rank; no two pairs share a rank. */
        private fun join(position: Int, rank: Long) {
            val right = after[position]
            if (ids[position] == GONE || right == GONE) return
            val merge = find(ids[position], ids[right])
            if (merge == NO_MERGE || merge ushr ID_BITS != rank) return
            ids[position] = (merge and ID_MASK).toInt()
            ids[right] = GONE
            after[position] = after[right]
            if (after[position] != GONE) {
                before[after[position]] = position
                propose(position)
            }
            if (before[position] != GONE) propose(before[position])
        }
    }
}
