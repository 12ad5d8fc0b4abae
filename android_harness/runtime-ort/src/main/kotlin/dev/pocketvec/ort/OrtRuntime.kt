package dev.pocketvec.ort

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtLoggingLevel
import ai.onnxruntime.OrtSession
import dev.pocketvec.Artifact
import dev.pocketvec.EmbeddingRuntime
import dev.pocketvec.PocketvecException
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.LongBuffer

/** An open .onnx: one text at a time, as long as it is. */
internal class OrtRuntime private constructor(
    private val environment: OrtEnvironment,
    private val artifact: Artifact,
    private val session: OrtSession,
) : EmbeddingRuntime {
    override val name: String = "onnxruntime"

    /** That of the Java API: in Android's package the library's too, on the tests' JVM an older one. */
    override val version: String = environment.version

    private val maxTokens = artifact.manifest.maxTokens
    private val ids = directLongs(maxTokens)
    private val mask = directLongs(maxTokens)

    override fun embed(ids: IntArray, promptTokens: Int): FloatArray {
        if (ids.isEmpty() || ids.size > maxTokens) {
            throw PocketvecException("${ids.size} tokens: ${artifact.manifest.name} takes 1 to $maxTokens")
        }
        this.ids.fill(ids.size) { ids[it].toLong() }
        mask.fill(ids.size) { if (it < promptTokens) PROMPT else TOKEN }
        return try {
            run(longArrayOf(1, ids.size.toLong()))
        } catch (error: OrtException) {
            throw failure(artifact, "run", error)
        }
    }

    /** The tensors lie on the buffers themselves, nothing is copied on the way in. */
    private fun run(shape: LongArray): FloatArray =
        OnnxTensor.createTensor(environment, ids, shape).use { idTensor ->
            OnnxTensor.createTensor(environment, mask, shape).use { maskTensor ->
                val inputs = mapOf(INPUT_IDS to idTensor, ATTENTION_MASK to maskTensor)
                session.run(inputs, setOf(OUTPUT)).use { outputs ->
                    val vector = (outputs[0] as OnnxTensor).floatBuffer
                    FloatArray(vector.remaining()).also(vector::get)
                }
            }
        }

    override fun close(): Unit = session.close()

    companion object {
        private const val INPUT_IDS = "input_ids"
        private const val ATTENTION_MASK = "attention_mask"
        private const val OUTPUT = "sentence_embedding"

        /** Values of the attention mask; a prompt's token that is not pooled is attended to all the same. */
        private const val TOKEN = 1L
        private const val PROMPT = 2L

        /** Opens the graph by path, so that its weights are mapped. */
        fun open(environment: OrtEnvironment, artifact: Artifact, threads: Int): OrtRuntime = try {
            options(threads).use { options ->
                OrtRuntime(environment, artifact, environment.createSession(artifact.modelFile.path, options))
            }
        } catch (error: OrtException) {
            throw failure(artifact, "open", error)
        }

        private fun failure(artifact: Artifact, what: String, error: OrtException) =
            PocketvecException(
                "${artifact.modelFile}: onnxruntime cannot $what it (${firstLine(error)})",
                error,
            )

        /** As the host measures it: the manifest's `session`, which export/session.py writes. */
        private fun options(threads: Int) = OrtSession.SessionOptions().apply {
            setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT)
            setExecutionMode(OrtSession.SessionOptions.ExecutionMode.SEQUENTIAL)
            setMemoryPatternOptimization(false)
            setIntraOpNumThreads(threads)
            // warnings about unused initialisers are not the user's
            setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR)
        }

        private fun directLongs(count: Int): LongBuffer =
            ByteBuffer.allocateDirect(count * Long.SIZE_BYTES).order(ByteOrder.nativeOrder()).asLongBuffer()

        private inline fun LongBuffer.fill(count: Int, value: (Int) -> Long) {
            cut(this, count)
            for (index in 0 until count) put(index, value(index))
        }

        /** As a plain Buffer: on Android 8 its subclasses have no such methods of their own. */
        private fun cut(buffer: Buffer, count: Int) {
            buffer.clear()
            buffer.limit(count)
        }
    }
}
