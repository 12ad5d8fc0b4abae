package dev.pocketvec

import dev.pocketvec.tokenizer.Tokenizer
import dev.pocketvec.tokenizer.Tokenizers
import java.io.Closeable
import java.io.File

/**
 * Unit vectors of texts from one artifact, for search on the device:
 *
 * ```kotlin
 * Embedder.open(folder).use { embedder ->
 *     val passage = embedder.embedDocument("Brine is weighed with an egg.", title = "Salt")
 *     val score = embedder.embedQuery("How strong is the brine?").similarity(passage)
 * }
 * ```
 *
 * Any thread may call it; calls wait for each other, since a runtime computes one text at a time with all of
 * its threads. Do not call it from the thread that draws: a text takes tens of milliseconds. It blocks: a
 * coroutine calls it in `withContext(Dispatchers.Default)`, and cancelling does not end a call.
 */
public class Embedder private constructor(
    public val artifact: Artifact,
    private val tokenizer: Tokenizer,
    private val runtime: EmbeddingRuntime,
) : Closeable {
    private val lock = Any()
    private var isClosed = false

    /** What every vector from here carries. */
    public val profile: ProfileIdentity = artifact.run {
        ProfileIdentity(manifest.name, manifest.checkpointSha256, weightsSha256)
    }

    /** What runs the model, for instance `onnxruntime`. */
    public val runtimeName: String get() = runtime.name

    /** The version of what runs the model, as it says itself. */
    public val runtimeVersion: String get() = runtime.version

    /**
     * A search query, behind the model's prompt for queries.
     *
     * @throws PocketvecException for a text that gives no vector.
     */
    public fun embedQuery(text: String): Embedding = embed(text, queryPrompt(artifact.manifest.prompts))

    /** A passage to be found, behind the model's prompt for documents, with its title where it has one. */
    @JvmOverloads
    public fun embedDocument(text: String, title: String? = null): Embedding {
        val prompted = splitDocument(documentPrompt(artifact.manifest.prompts), text, title)
        return embed(prompted.text, prompted.prompt)
    }

    /** A text behind a literal prompt: one of the manifest's `prompts` for tasks other than search. */
    @JvmOverloads
    public fun embed(text: String, prompt: String = ""): Embedding {
        val vector = synchronized(lock) { run(tokens(text, prompt)) }
        val dim = artifact.manifest.dim
        if (vector.size == dim) return Embedding(profile, vector)
        val place = artifact.folder
        throw PocketvecException("$place: the model gives ${vector.size} numbers, the manifest says $dim")
    }

    /**
     * Embeds one golden text and compares ids and vector with those of the artifact.
     *
     * @throws PocketvecException when they are another model's, or this device computes them wrongly.
     */
    public fun selfTest() {
        val golden = selfTestText(artifact)
        val tokens = tokens(golden.text, golden.prompt)
        checkGolden(artifact, golden, tokens.ids, run(tokens))
    }

    /** Frees the model. Embedding anything afterwards is an error of the caller's. */
    override fun close(): Unit = synchronized(lock) {
        if (!isClosed) runtime.close()
        isClosed = true
    }

    internal fun tokens(text: String, prompt: String): Tokens = synchronized(lock) {
        val skipped = if (artifact.manifest.includePrompt) 0 else tokenizer.promptTokens(prompt)
        Tokens(tokenizer.ids(text, prompt), skipped)
    }

    /** The model's own numbers, however many they are. */
    internal fun run(tokens: Tokens): FloatArray = synchronized(lock) {
        check(!isClosed) { "the embedder of ${artifact.folder} is closed" }
        val rows = artifact.manifest.vocabSize
        val wrong = tokens.ids.firstOrNull { it < 0 || it >= rows }
        if (wrong != null) {
            throw PocketvecException("token id $wrong: lies outside the token table of $rows rows")
        }
        runtime.embed(tokens.ids, tokens.promptTokens)
    }

    /** Ids of a text, and how many of the first ones are not pooled. */
    internal class Tokens(val ids: IntArray, val promptTokens: Int = 0)

    public companion object {
        /**
         * Opens an artifact's folder and tries it with a golden text.
         *
         * @param options threads, and where a runtime may keep packed weights.
         * @param factory the runtime, null for the module on the class path that the manifest asks for.
         * @param selfTest whether to try one golden text, which takes one inference.
         * @throws PocketvecException naming what is missing, damaged or does not belong together.
         */
        @JvmStatic
        @JvmOverloads
        public fun open(
            folder: File,
            options: RuntimeOptions = RuntimeOptions(),
            factory: RuntimeFactory? = null,
            selfTest: Boolean = true,
        ): Embedder {
            val artifact = Artifact.open(folder)
            val chosen = factory ?: Runtimes.find(artifact.manifest.runtime)
            val made = artifact.manifest.runtime
            if (chosen.runtime != made) {
                throw PocketvecException("$folder: made for $made, not for ${chosen.runtime}")
            }
            val tokenizer = Tokenizers.open(folder, artifact.manifest)
            val embedder = Embedder(artifact, tokenizer, chosen.open(artifact, options))
            var isRight = !selfTest
            try {
                if (selfTest) embedder.selfTest()
                isRight = true
            } finally {
                if (!isRight) embedder.close()
            }
            return embedder
        }
    }
}
