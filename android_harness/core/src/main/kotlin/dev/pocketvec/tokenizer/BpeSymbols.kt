package dev.pocketvec.tokenizer

/** Characters to ids, before any merge. */
internal class BpeSymbols(file: TokenizerFile) {
    private val pages = file.shorts(Section.CHAR_PAGES)
    private val characterIds = file.ints(Section.CHAR_IDS)
    private val byteIds = file.ints(Section.BYTE_IDS)
    private val unknown = file.unknown
    private val fuses = file.fusesUnknown

    /** One id per character, or one per UTF-8 byte of a character that the vocabulary lacks. */
    fun of(word: String): IntArray {
        val ids = IdList(Int.MAX_VALUE)
        var isUnknownWaiting = false
        word.forEachCodePoint { code ->
            val page = pages[code / TokenizerFile.PAGE_CHARS].toInt()
            val id = characterIds[page * TokenizerFile.PAGE_CHARS + code % TokenizerFile.PAGE_CHARS]
            if (id != NONE) {
                if (isUnknownWaiting) ids.add(unknown)
                isUnknownWaiting = false
                ids.add(id)
            } else if (!addBytes(code, ids) && unknown != NONE) { // bytes leave an unknown waiting
                if (isUnknownWaiting && !fuses) ids.add(unknown)
                isUnknownWaiting = true
            }
        }
        if (isUnknownWaiting) ids.add(unknown)
        return ids.toIntArray()
    }

    /** Adds the ids of the character's bytes, or none of them and gives false where one has no id. */
    private fun addBytes(code: Int, ids: IdList): Boolean {
        val bytes = String(Character.toChars(code)).toByteArray()
        if (bytes.any { byteIds[it.toInt() and BYTE_MASK] == NONE }) return false
        bytes.forEach { ids.add(byteIds[it.toInt() and BYTE_MASK]) }
        return true
    }
}
