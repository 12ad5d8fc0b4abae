package dev.pocketvec

import java.nio.BufferUnderflowException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Which vectors may be compared: those of one profile made once.
 *
 * @property name the profile, for instance `onnx-q4_0-256d`.
 * @property checkpointSha256 the model before it was exported.
 * @property weightsSha256 the files that a runtime opens.
 */
public data class ProfileIdentity(
    public val name: String,
    public val checkpointSha256: String,
    public val weightsSha256: String,
)

/** A unit vector and the profile that it comes from. Immutable. */
public class Embedding internal constructor(
    public val profile: ProfileIdentity,
    private val numbers: FloatArray,
) {
    /** Length of the vector. */
    public val dim: Int get() = numbers.size

    /** A copy of the vector. */
    public fun toFloatArray(): FloatArray = numbers.copyOf()

    /**
     * Cosine of two vectors, from -1 to 1; the higher, the more alike in meaning.
     *
     * @throws PocketvecException when they come from different profiles: such cosines are lower for no reason
     *   of meaning, or mean nothing at all.
     */
    public fun similarity(other: Embedding): Float {
        if (profile != other.profile) throw PocketvecException(difference(other.profile))
        return dot(other)
    }

    /**
     * The same for vectors of one model in different precisions or runtimes, as where a server embedded the
     * documents in fp32: what that costs is in a report as `ndcg_drop_asymmetric`.
     *
     * @throws PocketvecException when model or dimension differ.
     */
    public fun similarityAcrossPrecisions(other: Embedding): Float {
        val sameModel = profile.checkpointSha256 == other.profile.checkpointSha256
        if (!sameModel || dim != other.dim) throw PocketvecException(difference(other.profile))
        return dot(other)
    }

    /**
     * The vector with its profile, for an app's own storage: `pve1`, three strings (u16 length and UTF-8:
     * name, checkpoint, weights), u32 dimension, float32 numbers; little endian.
     */
    public fun toBytes(): ByteArray {
        val strings = with(profile) { listOf(name, checkpointSha256, weightsSha256) }.map { it.toByteArray() }
        val head = MAGIC.size + strings.sumOf { Short.SIZE_BYTES + it.size } + Int.SIZE_BYTES
        val buffer = ByteBuffer.allocate(head + dim * Float.SIZE_BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(MAGIC)
        strings.forEach { buffer.putShort(it.size.toShort()).put(it) }
        buffer.putInt(dim)
        numbers.forEach(buffer::putFloat)
        return buffer.array()
    }

    private fun dot(other: Embedding): Float {
        var sum = 0.0
        for (index in numbers.indices) sum += numbers[index].toDouble() * other.numbers[index]
        return sum.toFloat()
    }

    private fun difference(other: ProfileIdentity): String = when {
        profile.checkpointSha256 != other.checkpointSha256 ->
            "vectors of different models cannot be compared: ${profile.name} of checkpoint " +
                "${profile.checkpointSha256.short()}, ${other.name} of ${other.checkpointSha256.short()}"
        profile.name != other.name ->
            "vectors of different profiles cannot be compared: ${profile.name} and ${other.name}; " +
                "embed both with one"
        else ->
            "vectors of ${profile.name} with different weights cannot be compared: " +
                "${profile.weightsSha256.short()} and ${other.weightsSha256.short()}; " +
                "embed again what is stored"
    }

    private fun String.short(): String = take(SHOWN_DIGITS)

    public companion object {
        private const val SHOWN_DIGITS = 12
        private val MAGIC = "pve1".toByteArray()

        /**
         * What [toBytes] gave.
         *
         * @throws PocketvecException for other bytes.
         */
        @JvmStatic
        public fun fromBytes(bytes: ByteArray): Embedding {
            val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
            try {
                if (!buffer.bytes(MAGIC.size).contentEquals(MAGIC)) throw damaged(bytes)
                val (name, checkpoint, weights) = List(3) { buffer.string() }
                val dim = buffer.int
                if (dim < 0 || buffer.remaining() != dim * Float.SIZE_BYTES) throw damaged(bytes)
                return Embedding(ProfileIdentity(name, checkpoint, weights), FloatArray(dim) { buffer.float })
            } catch (error: BufferUnderflowException) {
                throw PocketvecException(damaged(bytes).message.orEmpty(), error)
            }
        }

        private fun ByteBuffer.bytes(count: Int): ByteArray = ByteArray(count).also { get(it) }

        private fun ByteBuffer.string(): String = bytes(short.toUShort().toInt()).decodeToString()

        private fun damaged(bytes: ByteArray) =
            PocketvecException("${bytes.size} bytes are not an embedding as toBytes writes it")
    }
}
