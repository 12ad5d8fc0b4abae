package dev.pocketvec.harness

import dev.pocketvec.bench.Pss

/** What the screen shows. */
internal sealed interface Trial {
    object Idle : Trial

    class Opening(val artifact: String) : Trial

    object Embedding : Trial

    class Failed(val reason: String) : Trial

    /**
     * Two texts compared. Times in milliseconds, of one run each after one to warm up.
     *
     * @property runtime name and version of what ran the model.
     */
    class Done(
        val artifact: String,
        val runtime: String,
        val similarity: Float,
        val openMs: Double,
        val queryMs: Double,
        val documentMs: Double,
        val memory: Pss,
    ) : Trial

    val isBusy: Boolean get() = this is Opening || this is Embedding
}
