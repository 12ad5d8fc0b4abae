package dev.pocketvec.tokenizer

/** Token ids on their way; `isFull` once there are [room], which they may exceed by a word. */
internal class IdList(private val room: Int) {
    private var ids = IntArray(INITIAL)

    var size: Int = 0
        private set

    val isFull: Boolean
        get() = size >= room

    fun add(id: Int) {
        if (size == ids.size) ids = ids.copyOf(2 * size)
        ids[size++] = id
    }

    fun addAll(more: IntArray) {
        if (size + more.size > ids.size) ids = ids.copyOf(maxOf(2 * ids.size, size + more.size))
        more.copyInto(ids, size)
        size += more.size
    }

    fun toIntArray(): IntArray = ids.copyOf(size)

    /** [prefix], as many ids as there is room for, [suffix]. */
    fun between(prefix: IntArray, suffix: IntArray): IntArray {
        val kept = minOf(size, room)
        val whole = IntArray(prefix.size + kept + suffix.size)
        prefix.copyInto(whole)
        ids.copyInto(whole, prefix.size, 0, kept)
        suffix.copyInto(whole, prefix.size + kept)
        return whole
    }

    companion object {
        private const val INITIAL = 32

        /** For a limit of [maxTokens] around [template] special tokens. A limit below these cuts nothing. */
        fun upTo(maxTokens: Int, template: Int): IdList =
            IdList(if (maxTokens < template) Int.MAX_VALUE else maxTokens - template)
    }
}
