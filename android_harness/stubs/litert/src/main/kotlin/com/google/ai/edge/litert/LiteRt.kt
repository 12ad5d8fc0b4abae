// Signatures of com.google.ai.edge.litert:litert as far as runtime-litert uses them, to compile against where
// the library cannot be had. Source: LiteRT's public Kotlin API (litert/kotlin, Apache-2.0), version 2.3.
@file:Suppress("UNUSED_PARAMETER")

package com.google.ai.edge.litert

public enum class Accelerator { NONE, CPU, GPU, NPU }

public class LiteRtException(code: Int, message: String) : Exception(message)

public class Environment private constructor() : AutoCloseable {
    override fun close(): Unit = stub()
}

public class TensorBuffer internal constructor() : AutoCloseable {
    public fun writeInt(data: IntArray): Unit = stub()

    public fun readFloat(): FloatArray = stub()

    override fun close(): Unit = stub()
}

public class CompiledModel private constructor() : AutoCloseable {
    public data class CpuOptions(
        val numThreads: Int? = null,
        val xnnPackFlags: Int? = null,
        val xnnPackWeightCachePath: String? = null,
    )

    public class Options(internal val accelerators: Set<Accelerator>) {
        public constructor(vararg accelerators: Accelerator) : this(setOf(*accelerators))

        public var cpuOptions: CpuOptions? = null

        public companion object {
            @JvmStatic
            public val CPU: Options = Options(Accelerator.CPU)
        }
    }

    @JvmOverloads
    public fun createInputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = stub()

    @JvmOverloads
    public fun createOutputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = stub()

    @JvmOverloads
    public fun run(
        inputs: List<TensorBuffer>,
        outputs: List<TensorBuffer>,
        signatureIndex: Int = 0,
    ): Unit = stub()

    override fun close(): Unit = stub()

    public companion object {
        @JvmOverloads
        @JvmStatic
        public fun create(
            filePath: String,
            options: Options = Options.CPU,
            optionalEnv: Environment? = null,
        ): CompiledModel = stub()
    }
}

private fun stub(): Nothing = error("only to compile against")
