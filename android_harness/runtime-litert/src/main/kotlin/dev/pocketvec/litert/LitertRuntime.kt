package dev.pocketvec.litert

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import dev.pocketvec.Artifact
import dev.pocketvec.EmbeddingRuntime
import dev.pocketvec.PocketvecException
import java.io.File

/**
 * An open .tflite: runs a text in the shortest signature that holds it.
 *
 * Signatures are addressed by their place in the file, which is the order of the manifest's `lengths`. LiteRT
 * maps the file; its pages cannot be handed back after a run as the host does, because that takes `madvise`,
 * which Android gives to native code alone. They are clean, and the kernel takes them when it needs to.
 */
internal class LitertRuntime private constructor(
    private val artifact: Artifact,
    private val model: CompiledModel,
) : EmbeddingRuntime {
    override val name: String = "litert"
    override val version: String = LITERT_VERSION

    private val signatures = Signatures(artifact.manifest.lengths, artifact.manifest.padId)
    private val buffers = arrayOfNulls<Buffers>(artifact.manifest.lengths.size)

    override fun embed(ids: IntArray, promptTokens: Int): FloatArray {
        val signature = signatures.shortestFor(ids.size)
        return try {
            run(signature, signatures.padded(ids, signature), promptTokens)
        } catch (error: LiteRtException) {
            throw failure(artifact.modelFile, "run", error)
        }
    }

    private fun run(signature: Int, ids: IntArray, promptTokens: Int): FloatArray {
        val held = buffers[signature] ?: Buffers.of(model, signature).also { buffers[signature] = it }
        held.inputs[0].writeInt(ids)
        if (!artifact.manifest.includePrompt) held.inputs[1].writeInt(intArrayOf(promptTokens))
        model.run(held.inputs, held.outputs, signature)
        return held.outputs[0].readFloat()
    }

    override fun close() {
        buffers.forEach { it?.close() }
        model.close()
    }

    /** Inputs and outputs of one signature, made at its first use and kept. */
    private class Buffers(val inputs: List<TensorBuffer>, val outputs: List<TensorBuffer>) {
        fun close() = (inputs + outputs).forEach { it.close() }

        companion object {
            fun of(model: CompiledModel, signature: Int) =
                Buffers(model.createInputBuffers(signature), model.createOutputBuffers(signature))
        }
    }

    companion object {
        /** @throws PocketvecException when LiteRT cannot read the file. */
        fun open(artifact: Artifact, threads: Int, cache: WeightCacheFile?): LitertRuntime {
            val file = artifact.modelFile
            return try {
                LitertRuntime(artifact, compile(file, threads, cache?.prepare())).also { cache?.seal() }
            } catch (error: LiteRtException) {
                cache?.discard()
                throw failure(file, "open", error)
            }
        }

        private fun compile(file: File, threads: Int, cache: File?): CompiledModel {
            val options = CompiledModel.Options(Accelerator.CPU)
            options.cpuOptions =
                CompiledModel.CpuOptions(numThreads = threads, xnnPackWeightCachePath = cache?.path)
            return CompiledModel.create(file.path, options)
        }

        private fun failure(file: File, what: String, error: LiteRtException): PocketvecException {
            val reason = error.message?.lineSequence()?.firstOrNull()
            return PocketvecException("$file: LiteRT cannot $what it ($reason)", error)
        }
    }
}
