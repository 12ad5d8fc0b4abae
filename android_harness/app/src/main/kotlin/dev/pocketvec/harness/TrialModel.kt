package dev.pocketvec.harness

import android.os.Handler
import android.os.Looper
import dev.pocketvec.Embedder
import dev.pocketvec.RuntimeOptions
import java.io.File
import java.util.concurrent.Executors

/**
 * The screen's state and its open artifact. It outlives the activity when the phone is turned.
 *
 * Everything but the work itself happens on the main thread.
 */
internal class TrialModel(private val weightCache: File) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    private var opened: Opened? = null

    /** Told of every change; null while there is no screen. */
    var observer: ((Trial) -> Unit)? = null

    var state: Trial = Trial.Idle
        private set

    /** Embeds both texts with the artifact in [folder], and opens that first if need be. */
    fun compare(folder: File, query: String, document: String) {
        if (state.isBusy) return
        show(Trial.Opening(folder.name))
        worker.execute {
            // Too little memory or a missing library has to reach the screen like any other error.
            val outcome = runCatching { measure(folder, query, document) }
            main.post { show(outcome.getOrElse { Trial.Failed(oneLine(it)) }) }
        }
    }

    /** Frees the model, once work in progress is done. */
    fun close() {
        observer = null
        worker.execute { opened?.embedder?.close() }
        worker.shutdown()
    }

    private fun measure(folder: File, query: String, document: String): Trial {
        val (embedder, openMs) = open(folder)
        main.post { show(Trial.Embedding) }
        embedder.embedQuery(query)
        val start = System.nanoTime()
        val first = embedder.embedQuery(query)
        val between = System.nanoTime()
        val second = embedder.embedDocument(document)
        val end = System.nanoTime()
        return Trial.Done(
            artifact = folder.name,
            runtime = embedder.runtimeVersion,
            similarity = first.similarity(second),
            openMs = openMs,
            queryMs = milliseconds(start, between),
            documentMs = milliseconds(between, end),
            memory = appMemory(),
        )
    }

    private fun open(folder: File): Opened {
        opened?.takeIf { it.embedder.artifact.folder == folder }?.let { return it }
        opened?.embedder?.close()
        opened = null
        val start = System.nanoTime()
        val embedder = Embedder.open(folder, RuntimeOptions(weightCache = weightCache))
        return Opened(embedder, milliseconds(start, System.nanoTime())).also { opened = it }
    }

    private fun show(next: Trial) {
        state = next
        observer?.invoke(next)
    }

    private data class Opened(val embedder: Embedder, val openMs: Double)

    private companion object {
        const val NANOSECONDS_PER_MS = 1e6

        fun milliseconds(start: Long, end: Long): Double = (end - start) / NANOSECONDS_PER_MS
    }
}
