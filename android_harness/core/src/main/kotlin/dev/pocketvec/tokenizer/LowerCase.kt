package dev.pocketvec.tokenizer

private const val CAPITAL_I_WITH_DOT = 0x130
private const val CAPITAL_SIGMA = 0x3A3
private const val SIGMA = 0x3C3
private const val FINAL_SIGMA = 0x3C2
private const val DOT_ABOVE = 0x307

/** Other characters that a word may have inside: apostrophes, middle dots, full stops, colons. */
private val INSIDE_WORDS =
    CodePointRanges("27 2e 3a b7 387 55f 5f4 2018-2019 2024 2027 fe13 fe52 fe55 ff07 ff0e ff1a")
private val IGNORED_TYPES = setOf(
    Character.NON_SPACING_MARK,
    Character.ENCLOSING_MARK,
    Character.FORMAT,
    Character.MODIFIER_LETTER,
    Character.MODIFIER_SYMBOL,
)

/** Every character lowered by itself, by a table that is the same on every Android release. */
internal fun loweredOneByOne(text: String): String = buildString(text.length) {
    text.forEachCodePoint { code -> appendLowered(code) }
}

/** As [loweredOneByOne], but a capital sigma that ends a word becomes the letter for that. */
internal fun lowered(text: String): String = buildString(text.length) {
    var position = 0
    while (position < text.length) {
        val code = text.codePointAt(position)
        if (code == CAPITAL_SIGMA) {
            appendCodePoint(if (endsWord(text, position)) FINAL_SIGMA else SIGMA)
        } else {
            appendLowered(code)
        }
        position += Character.charCount(code)
    }
}

private fun StringBuilder.appendLowered(code: Int) {
    appendCodePoint(UnicodeTables.lower[code])
    if (code == CAPITAL_I_WITH_DOT) appendCodePoint(DOT_ABOVE)
}

/** Unicode's Final_Sigma: a cased letter before it and none behind it, case-ignorable characters aside. */
private fun endsWord(text: String, sigma: Int): Boolean {
    var before = sigma
    do {
        if (before == 0) return false
        val code = text.codePointBefore(before)
        before -= Character.charCount(code)
    } while (isIgnored(code))
    var after = sigma + 1
    while (after < text.length && isIgnored(text.codePointAt(after))) {
        after += Character.charCount(text.codePointAt(after))
    }
    return isCased(text.codePointAt(before)) && (after == text.length || !isCased(text.codePointAt(after)))
}

private fun isIgnored(code: Int): Boolean =
    code in INSIDE_WORDS || Character.getType(code).toByte() in IGNORED_TYPES

private fun isCased(code: Int): Boolean =
    Character.isLowerCase(code) || Character.isUpperCase(code) || Character.isTitleCase(code)
