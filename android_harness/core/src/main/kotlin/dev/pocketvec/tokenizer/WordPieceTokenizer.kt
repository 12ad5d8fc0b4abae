package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException
import java.io.File

/** Tokenizers of BERT's kind, from a tokenizer.json. */
public object WordPieceTokenizer {
    /**
     * Reads [tokenizerJson] as a whole; its vocabulary stays on the heap, about 20 bytes a piece.
     *
     * @param lowerCase whether text is lowered before anything else: the manifest's `tokenizer.lower_case`.
     *   What `tokenizer.json` itself says about lowering applies either way.
     * @param maxTokens the manifest's `max_tokens`; truncation and padding in the file are ignored.
     * @throws PocketvecException for a file that is absent or no JSON, or naming what in it is not BERT's.
     */
    public fun open(tokenizerJson: File, lowerCase: Boolean, maxTokens: Int): Tokenizer =
        PromptTokenizer(WordPieceFile.read(tokenizerJson).encoder(), lowerCase, maxTokens)
}

/**
 * The longest piece that a word begins with, then the longest of what is left with [continuing] before it.
 *
 * @property longestWord code points; a longer word is unknown.
 */
internal class WordPieces(
    private val pieces: PieceTable,
    private val unknown: Int,
    private val continuing: String,
    private val longestWord: Int,
) {
    /** Adds the ids of a word, or the one id for unknown words. */
    fun add(word: String, out: IdList) {
        val ids = if (word.codePointCount(0, word.length) > longestWord) null else idsOrNull(word)
        if (ids == null) out.add(unknown) else out.addAll(ids)
    }

    private fun idsOrNull(word: String): IntArray? {
        val ids = IdList(Int.MAX_VALUE)
        var start = 0
        while (start < word.length) {
            val prefix = if (start > 0) continuing else ""
            var end = word.length
            var id = pieces.find(prefix, word, start, end)
            while (id == NONE) {
                end -= Character.charCount(word.codePointBefore(end))
                if (end == start) return null
                id = pieces.find(prefix, word, start, end)
            }
            ids.add(id)
            start = end
        }
        return ids.toIntArray()
    }
}

/** Ids before and behind the text, and which ids are special tokens'. */
internal class Template(val prefix: IntArray, val suffix: IntArray, val special: Set<Int>)

/** Added tokens out of the text as it comes, normalising, added tokens out of that, words, pieces. */
internal class WordPieceEncoder(
    private val raw: AddedTokens,
    private val normalizer: BertNormalizer,
    private val normalised: AddedTokens,
    private val wordPieces: WordPieces,
    private val template: Template,
) : Encoder {
    override fun isSpecial(id: Int): Boolean = id in template.special

    override fun encode(text: String, maxTokens: Int): IntArray {
        val ids = IdList.upTo(maxTokens, template.prefix.size + template.suffix.size)
        raw.cut(text, ids) { part ->
            normalised.cut(normalizer.normalise(part), ids) { stretch ->
                forEachBertWord(stretch) { word -> if (!ids.isFull) wordPieces.add(word, ids) }
            }
        }
        return ids.between(template.prefix, template.suffix)
    }
}
