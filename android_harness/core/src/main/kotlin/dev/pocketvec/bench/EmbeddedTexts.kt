package dev.pocketvec.bench

import dev.pocketvec.Embedder
import dev.pocketvec.GoldenFile
import dev.pocketvec.GoldenText
import dev.pocketvec.PocketvecException
import java.io.File

/** The golden texts and then the job's, embedded into vectors.f32 one by one. */
internal class EmbeddedTexts(private val embedder: Embedder, folder: File) : AutoCloseable {
    /** What is in the file, and what was wrong with it. */
    class Outcome(val idsEqual: List<Boolean>, val rows: Int, val dim: Int, val faults: List<Fault>)

    private val structure = Structure(embedder)
    private val firstTokens = embedder.tokens(FIRST_PROBE, "")
    private val vectors = VectorsFile(folder, embedder.run(firstTokens).size)

    fun write(texts: File?): Outcome {
        structure.checkRuns(firstTokens)
        val idsEqual = GoldenFile.stream(embedder.artifact.folder) { it.map(::addGolden).toList() }
        if (texts != null) forEachText(texts) { prompt, text -> add(embedder.tokens(text, prompt)) }
        vectors.finish()
        return Outcome(idsEqual, vectors.rows, vectors.dim, structure.faults)
    }

    /** Whether the ids are the golden ones. A text without a vector has a row of NaN. */
    private fun addGolden(golden: GoldenText): Boolean = try {
        val tokens = embedder.tokens(golden.text, golden.prompt)
        add(tokens)
        tokens.ids.contentEquals(golden.ids)
    } catch (error: PocketvecException) {
        structure.checkFailure(golden.prompt + golden.text, error)
        vectors.add(FloatArray(vectors.dim) { Float.NaN })
        false
    }

    private fun add(tokens: Embedder.Tokens) {
        val vector = embedder.run(tokens)
        structure.check(vector)
        vectors.add(vector)
    }

    override fun close(): Unit = vectors.close()

    private companion object {
        const val FIRST_PROBE = "The quick brown fox jumps over the lazy dog."
    }
}
