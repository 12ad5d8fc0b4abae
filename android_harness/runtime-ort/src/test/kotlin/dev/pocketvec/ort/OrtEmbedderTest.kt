package dev.pocketvec.ort

import dev.pocketvec.Embedder
import dev.pocketvec.GoldenFile
import dev.pocketvec.RuntimeOptions
import dev.pocketvec.Runtimes
import dev.pocketvec.tokenizer.Tokenizers
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

private val ONE = RuntimeOptions(threads = 1)

class OrtEmbedderTest {
    @Test
    fun `the manifest's runtime is found and the self-test passes`() {
        for (precision in listOf("fp32", "q8_0", "int8", "q4_0")) {
            Embedder.open(artifactFolder("onnx-$precision-128d"), ONE).use {
                assertEquals("onnxruntime", it.runtimeName)
            }
        }
    }

    @Test
    fun `queries and documents go behind the model's prompts`() {
        Embedder.open(artifactFolder("onnx-fp32-128d"), ONE).use { embedder ->
            val query = embedder.embed("How strong is the brine?", "task: search result | query: ")
            assertEquals(1f, embedder.embedQuery("How strong is the brine?").similarity(query), 1e-6f)
            val passage = embedder.embed("An egg floats.", "title: Brine | text: ")
            assertEquals(1f, embedder.embedDocument("An egg floats.", "Brine").similarity(passage), 1e-6f)
            assertTrue(embedder.embedDocument("An egg floats.").similarity(passage) < 0.9999f)
        }
    }

    @Test
    fun `vectors of two precisions are refused`() {
        val (one, other) = listOf("fp32", "q4_0").map { precision ->
            Embedder.open(artifactFolder("onnx-$precision-128d"), ONE).use { it.embedQuery("salt") }
        }
        assertRefused("onnx-fp32-128d", "onnx-q4_0-128d") { one.similarity(other) }
        assertTrue(one.similarityAcrossPrecisions(other) > 0.8f)
    }

    @Test
    fun `many threads at once get the vectors that one gets`() {
        val texts = List(24) { "salt and brine number $it " + "tide ".repeat(it) }
        Embedder.open(artifactFolder("onnx-fp32-128d"), ONE).use { embedder ->
            val right = texts.map { embedder.embedQuery(it).toFloatArray() }
            val pool = Executors.newFixedThreadPool(8)
            val found = texts.map { pool.submit(Callable { embedder.embedQuery(it).toFloatArray() }) }
            found.forEachIndexed { index, one -> assertArrayEquals(right[index], one.get(), 0f) }
            pool.shutdown()
        }
    }

    @Test
    fun `the weights of another model are refused at opening`() {
        assertRefused("self-test", "cosine", "the weights are another model's") {
            Embedder.open(artifactFolder("other-weights"), ONE)
        }
        Embedder.open(artifactFolder("other-weights"), ONE, selfTest = false).use {
            assertRefused("self-test") { it.selfTest() }
        }
    }

    @Test
    fun `another model's tokenizer is refused at opening`() = assertRefused("self-test", "other ids") {
        Embedder.open(artifactFolder("other-tokenizer"), ONE)
    }

    @Test
    fun `a model that is missing is named`() = assertRefused("model.onnx.data: missing") {
        Embedder.open(artifactFolder("no-weights"), ONE)
    }

    @Test
    fun `a graph that is none is named`() = assertRefused("model.onnx: onnxruntime cannot open it") {
        Embedder.open(artifactFolder("no-graph"), ONE)
    }

    @Test
    fun `an artifact for a runtime without a module is refused with those there are`() =
        assertRefused("runtime 'litert'", "there are: onnx") { Embedder.open(artifactFolder("litert"), ONE) }

    @Test
    fun `a factory for another runtime is refused`() = assertRefused("made for litert, not for onnx") {
        Embedder.open(artifactFolder("litert"), ONE, Runtimes.find("onnx"))
    }

    @Test
    fun `an embedder that is closed embeds nothing`() {
        val embedder = Embedder.open(artifactFolder("onnx-fp32-128d"), ONE)
        embedder.close()
        embedder.close()
        assertThrows(IllegalStateException::class.java) { embedder.embedQuery("salt") }
    }

    @Test
    fun `a prompt that is not pooled changes the vector as the model means it`() {
        val folder = artifactFolder("bert-prompt-left-out")
        val golden = GoldenFile.read(folder).filter { it.prompt.isNotEmpty() && it.text.isNotEmpty() }
        assertTrue(golden.isNotEmpty())
        Embedder.open(folder, ONE).use { embedder ->
            val tokenizer = Tokenizers.open(folder, embedder.artifact.manifest)
            val runtime = OrtFactory().open(embedder.artifact, ONE)
            for (one in golden) {
                assertArrayEquals(one.vector, embedder.embed(one.text, one.prompt).toFloatArray(), 1e-5f)
                val pooled = runtime.embed(tokenizer.ids(one.text, one.prompt))
                assertTrue(one.vector.indices.any { kotlin.math.abs(pooled[it] - one.vector[it]) > 1e-3f })
            }
            runtime.close()
        }
    }
}
