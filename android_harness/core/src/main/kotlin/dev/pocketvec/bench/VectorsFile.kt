package dev.pocketvec.bench

import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** vectors.f32: rows of float32, little endian; under its own name only when it is whole. */
internal class VectorsFile(private val folder: File, val dim: Int) : Closeable {
    private val temporary = File(folder, ".$NAME.tmp")
    private val stream = temporary.outputStream().buffered()
    private val buffer = ByteBuffer.allocate(dim * Float.SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN)

    var rows: Int = 0
        private set

    /** Appends a vector of [dim] numbers. */
    fun add(vector: FloatArray) {
        require(vector.size == dim) { "a row of ${vector.size} numbers among rows of $dim" }
        buffer.asFloatBuffer().put(vector)
        stream.write(buffer.array())
        rows++
    }

    fun finish(): File {
        stream.close()
        return renamed(temporary, File(folder, NAME))
    }

    /** Leaves nothing half-written behind. */
    override fun close() {
        stream.close()
        temporary.delete()
    }

    companion object {
        const val NAME: String = "vectors.f32"
    }
}
