package dev.pocketvec.ort

import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtLoggingLevel
import dev.pocketvec.Artifact
import dev.pocketvec.EmbeddingRuntime
import dev.pocketvec.PocketvecException
import dev.pocketvec.RuntimeFactory
import dev.pocketvec.RuntimeOptions

/**
 * Opens `onnx` artifacts with ONNX Runtime on the CPU.
 *
 * It keeps no weight cache: what the host does for one (taking the token table out of the graph, aligning
 * packed weights in their file) are edits that the Java API does not offer. Packed weights are memory of the
 * app's own, therefore, and a job's state is `none`.
 */
public class OrtFactory : RuntimeFactory {
    override val runtime: String = "onnx"
    override val keepsWeightCache: Boolean = false

    override fun load() {
        environment()
    }

    override fun open(artifact: Artifact, options: RuntimeOptions): EmbeddingRuntime =
        OrtRuntime.open(environment(), artifact, options.threads)
}

/** The one environment of a process, its telemetry off before and after the library is loaded. */
private fun environment(): OrtEnvironment {
    switchTelemetryOff()
    return try {
        OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR).apply { setTelemetry(false) }
    } catch (error: OrtException) {
        throw PocketvecException("onnxruntime does not start (${firstLine(error)})", error)
    } catch (error: LinkageError) {
        throw PocketvecException("no onnxruntime library for ${System.getProperty("os.arch")} here", error)
    }
}

/** What the library says, without its stack. */
internal fun firstLine(error: OrtException): String =
    error.message?.lineSequence()?.firstOrNull() ?: error.javaClass.simpleName
