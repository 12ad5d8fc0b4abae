package dev.pocketvec.tokenizer

import java.text.Normalizer

private const val SPACE = ' '

/**
 * BertNormalizer of the `tokenizers` library.
 *
 * What the library knows of characters is in tables, since every Android release knows another Unicode.
 */
internal class BertNormalizer(
    private val cleansText: Boolean,
    private val spacesChinese: Boolean,
    private val stripsAccents: Boolean,
    private val lowers: Boolean,
) {
    fun normalise(text: String): String {
        var now = text
        if (cleansText) now = cleaned(now)
        if (spacesChinese) now = chineseSpaced(now)
        if (stripsAccents) now = withoutMarks(decomposed(now))
        return if (lowers) loweredOneByOne(now) else now
    }

    private fun cleaned(text: String): String = buildString(text.length) {
        text.forEachCodePoint { code ->
            if (code !in UnicodeTables.removed) {
                if (code in UnicodeTables.spaces) append(SPACE) else appendCodePoint(code)
            }
        }
    }

    private fun chineseSpaced(text: String): String = buildString(text.length) {
        text.forEachCodePoint { code ->
            val isIdeograph = code in UnicodeTables.chinese
            if (isIdeograph) append(SPACE)
            appendCodePoint(code)
            if (isIdeograph) append(SPACE)
        }
    }

    private fun withoutMarks(text: String): String = buildString(text.length) {
        text.forEachCodePoint { code -> if (code !in UnicodeTables.marks) appendCodePoint(code) }
    }

    /** NFD of Unicode 9: a newer one of the system's is kept from what was not there yet. */
    private fun decomposed(text: String): String = buildString(text.length) {
        var position = 0
        while (position < text.length) {
            val start = position
            while (position < text.length && text.codePointAt(position) in UnicodeTables.composed) {
                position += Character.charCount(text.codePointAt(position))
            }
            append(Normalizer.normalize(text.substring(start, position), Normalizer.Form.NFD))
            if (position < text.length) {
                val code = text.codePointAt(position)
                appendCodePoint(code)
                position += Character.charCount(code)
            }
        }
    }
}

/** BertPreTokenizer: words between spaces, every punctuation mark by itself. */
internal inline fun forEachBertWord(text: String, action: (String) -> Unit) {
    var start = 0
    var position = 0
    while (position < text.length) {
        val code = text.codePointAt(position)
        val end = position + Character.charCount(code)
        val isPunctuation = code in UnicodeTables.punctuation
        if (isPunctuation || code in UnicodeTables.spaces) {
            if (position > start) action(text.substring(start, position))
            if (isPunctuation) action(text.substring(position, end))
            start = end
        }
        position = end
    }
    if (start < text.length) action(text.substring(start))
}
