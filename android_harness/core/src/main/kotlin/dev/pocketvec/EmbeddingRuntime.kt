package dev.pocketvec

import java.io.Closeable
import java.io.File

/** An open model: token ids in, vector out. Used by one thread at a time; [Embedder] sees to that. */
public interface EmbeddingRuntime : Closeable {
    /** What runs it, for instance `onnxruntime`. */
    public val name: String

    /** The library's version, as it says itself. */
    public val version: String

    /**
     * The unit vector of one text.
     *
     * @param ids token ids, special tokens included, each below the manifest's `vocabSize`, at most
     *   `maxTokens`.
     * @param promptTokens how many leading ids are attended to but not pooled; 0 unless the manifest says
     *   `include_prompt: false`.
     * @return `dim` numbers as the model gives them.
     * @throws PocketvecException when the runtime cannot run it.
     */
    public fun embed(ids: IntArray, promptTokens: Int = 0): FloatArray
}

/** Opens artifacts in one runtime. Implementations are found by [java.util.ServiceLoader]. */
public interface RuntimeFactory {
    /** The manifest's `runtime` that this is for: `onnx` or `litert`. */
    public val runtime: String

    /** Whether [RuntimeOptions.weightCache] is used. If not, packed weights are the app's own memory. */
    public val keepsWeightCache: Boolean get() = true

    /** Loads the native library, so that the time of opening a model is the model's. May be called again. */
    public fun load() {}

    /**
     * Opens a model by path.
     *
     * @throws PocketvecException when the runtime cannot read it.
     */
    public fun open(artifact: Artifact, options: RuntimeOptions): EmbeddingRuntime
}

/**
 * How a model is opened.
 *
 * @property threads of the runtime, the caller's included.
 * @property weightCache an app's own folder for a file of packed weights, for runtimes that keep one; null
 *   for none.
 */
public data class RuntimeOptions @JvmOverloads constructor(
    public val threads: Int = defaultThreads(),
    public val weightCache: File? = null,
) {
    init {
        if (threads < 1) throw PocketvecException("threads $threads: at least 1")
    }

    public companion object {
        private const val MOST_THREADS = 4

        /** One a core, at most four: a phone's further cores are slow ones, which the others wait for. */
        @JvmStatic
        public fun defaultThreads(): Int =
            Runtime.getRuntime().availableProcessors().coerceAtMost(MOST_THREADS)
    }
}
