package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException
import java.io.File

/** Tokenizers of Gemma's kind, from the compact table that pocketvec exports as tokenizer.bin. */
public object BpeTokenizer {
    /**
     * Maps [file]; of its content almost nothing comes to lie on the heap.
     *
     * @param lowerCase whether text is lowered first: the manifest's `tokenizer.lower_case`.
     * @param maxTokens the manifest's `max_tokens`.
     * @throws PocketvecException for a file that is absent, foreign, of another version or not whole.
     */
    public fun open(file: File, lowerCase: Boolean, maxTokens: Int): Tokenizer =
        PromptTokenizer(BpeEncoder(TokenizerFile.map(file)), lowerCase, maxTokens)
}

/** The algorithm of docs/tokenizer.md; the numbers below are its steps. */
internal class BpeEncoder(file: TokenizerFile) : Encoder {
    private val raw = file.rawTokens()
    private val normalised = file.normalisedTokens()
    private val steps = file.steps()
    private val split = file.text(Section.SPLIT)
    private val boundary = file.boundary.takeIf { it > 0 }
    private val symbols = BpeSymbols(file)
    private val merges = BpeMerges(file.ints(Section.MERGE_STARTS), file.longs(Section.MERGES))
    private val words = WordCache { word -> merges.merge(symbols.of(word)) }
    private val prefix = file.intArray(Section.PREFIX)
    private val suffix = file.intArray(Section.SUFFIX)
    private val special = file.intArray(Section.SPECIAL)

    override fun isSpecial(id: Int): Boolean = special.binarySearch(id) >= 0

    override fun encode(text: String, maxTokens: Int): IntArray {
        val ids = IdList.upTo(maxTokens, prefix.size + suffix.size)
        raw.cut(text, ids) { part -> // 2
            normalised.cut(normalise(part), ids) { addStretches(it, ids) } // 3, 4
        }
        return ids.between(prefix, suffix) // 7
    }

    private fun normalise(text: String): String = steps.fold(text) { now, (pattern, content) ->
        when {
            pattern.isNotEmpty() -> now.replace(pattern, content)
            now.isNotEmpty() -> content + now
            else -> now
        }
    }

    /** Step 5: cut behind every occurrence of `split`. */
    private fun addStretches(text: String, ids: IdList) {
        var start = 0
        while (start < text.length && !ids.isFull) {
            val found = if (split.isEmpty()) -1 else text.indexOf(split, start)
            val end = if (found < 0) text.length else found + split.length
            addWords(text, start, end, ids)
            start = end
        }
    }

    /** Step 6, word by word: no merge joins the boundary character to a different one before it. */
    private fun addWords(text: String, start: Int, end: Int, ids: IdList) {
        var done = start
        for (position in start + 1 until end) {
            val begins = text[position].code == boundary && text[position - 1].code != boundary
            if (!begins) continue
            ids.addAll(words.ids(text.substring(done, position)))
            done = position
            if (ids.isFull) return
        }
        ids.addAll(words.ids(text.substring(done, end)))
    }
}
