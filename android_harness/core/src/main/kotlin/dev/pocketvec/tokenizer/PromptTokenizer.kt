package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException

/** What a kind of tokenizer does itself: ids of one text that is ready. */
internal interface Encoder {
    /** Ids with the template's tokens, at most [maxTokens]; a limit below these cuts nothing. */
    fun encode(text: String, maxTokens: Int): IntArray

    /** Whether [id] is a special token's. */
    fun isSpecial(id: Int): Boolean
}

/** Joins prompt and text, lowers and checks them: the same for every kind of tokenizer. */
internal class PromptTokenizer(
    private val encoder: Encoder,
    private val lowerCase: Boolean,
    private val maxTokens: Int,
) : Tokenizer {
    override fun ids(text: String, prompt: String): IntArray {
        val whole = prompt + text
        requireWholeCharacters(whole)
        val ids = encoder.encode(if (lowerCase) lowered(whole) else whole, maxTokens)
        if (ids.isEmpty()) {
            val cure = "add a prompt or drop it"
            throw PocketvecException("an empty text gives no token with this tokenizer; $cure")
        }
        return ids
    }

    override fun promptTokens(prompt: String): Int {
        if (prompt.isEmpty()) return 0
        val ids = ids("", prompt)
        return if (encoder.isSpecial(ids.last())) ids.size - 1 else ids.size
    }
}

private const val SHOWN_CHARACTERS = 40

private fun requireWholeCharacters(text: String) {
    var position = 0
    while (position < text.length) {
        val char = text[position]
        val isPair = char.isHighSurrogate() && text.getOrNull(position + 1)?.isLowSurrogate() == true
        if (char.isSurrogate() && !isPair) {
            val shown = text.take(SHOWN_CHARACTERS).map { if (it.isSurrogate()) '?' else it }.joinToString("")
            val rule = "character $position is half a surrogate pair, which has no UTF-8 form"
            throw PocketvecException("text '$shown': $rule")
        }
        position += if (isPair) 2 else 1
    }
}
