package dev.pocketvec.tokenizer

private const val WORDS = 2048
private const val WORD_CHARS = 24
private const val LOAD = 0.75f

/** Remembers the ids of the short words used last, a few hundred KB of them. */
internal class WordCache(private val merge: (String) -> IntArray) {
    private val known = object : LinkedHashMap<String, IntArray>(WORDS, LOAD, true) {
        override fun removeEldestEntry(eldest: MutableMap.MutableEntry<String, IntArray>) = size > WORDS
    }

    fun ids(word: String): IntArray {
        if (word.length > WORD_CHARS) return merge(word)
        synchronized(known) { known[word] }?.let { return it }
        return merge(word).also { synchronized(known) { known[word] = it } }
    }
}
