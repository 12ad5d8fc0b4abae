package dev.pocketvec.tokenizer

/** Text to token ids, exactly as the checkpoint's own tokenizer gives them. */
public interface Tokenizer {
    /**
     * Token ids of `prompt + text`, special tokens included, cut to the token limit.
     *
     * @throws dev.pocketvec.PocketvecException for a text that gives no token, or that holds half of a
     *   surrogate pair.
     */
    public fun ids(text: String, prompt: String = ""): IntArray

    /** How many leading tokens of a text belong to [prompt], for models that leave them out of pooling. */
    public fun promptTokens(prompt: String): Int
}
