package dev.pocketvec.tokenizer

import dev.pocketvec.Manifest
import dev.pocketvec.PocketvecException
import java.io.File

/** Opens the tokenizer of an artifact. */
public object Tokenizers {
    /**
     * The compact table where the artifact has one, a tokenizer.json of BERT's kind otherwise.
     *
     * @throws PocketvecException where there is neither, or the one that is there cannot be used.
     */
    @JvmStatic
    public fun open(folder: File, manifest: Manifest): Tokenizer = when {
        TABLE_NAME in manifest.files ->
            BpeTokenizer.open(File(folder, TABLE_NAME), manifest.lowerCase, manifest.maxTokens)
        JSON_NAME in manifest.files ->
            WordPieceTokenizer.open(File(folder, JSON_NAME), manifest.lowerCase, manifest.maxTokens)
        else ->
            throw PocketvecException("$folder: its manifest lists neither $TABLE_NAME nor $JSON_NAME")
    }

    private const val TABLE_NAME = "tokenizer.bin"
    private const val JSON_NAME = "tokenizer.json"
}
