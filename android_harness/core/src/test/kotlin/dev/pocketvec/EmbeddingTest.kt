package dev.pocketvec

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

private val PROFILE = ProfileIdentity("onnx-q4_0-256d", "c0ffee", "beef")

class EmbeddingTest {
    private val vector = floatArrayOf(0.6f, 0.8f)

    private fun embedding(profile: ProfileIdentity = PROFILE) = Embedding(profile, vector)

    @Test
    fun `similarity is the cosine of unit vectors`() {
        assertEquals(1f, embedding().similarity(embedding()), 1e-6f)
        assertEquals(0.96f, embedding().similarity(Embedding(PROFILE, floatArrayOf(0.8f, 0.6f))), 1e-6f)
    }

    @Test
    fun `vectors of different profiles are refused by name`() {
        val other = embedding(PROFILE.copy(name = "onnx-fp32-256d", weightsSha256 = "1"))
        assertRefused("onnx-q4_0-256d", "onnx-fp32-256d", "both with one") { embedding().similarity(other) }
    }

    @Test
    fun `vectors of different models are refused`() {
        val other = embedding(PROFILE.copy(checkpointSha256 = "decaf"))
        assertRefused("different models", "c0ffee", "decaf") { embedding().similarity(other) }
        assertRefused("different models") { embedding().similarityAcrossPrecisions(other) }
    }

    @Test
    fun `the same profile made anew has other vectors`() {
        val other = embedding(PROFILE.copy(weightsSha256 = "feed"))
        assertRefused("different weights", "beef", "feed") { embedding().similarity(other) }
    }

    @Test
    fun `precisions of one model compare where that is asked for`() {
        val other = embedding(PROFILE.copy(name = "onnx-fp32-256d", weightsSha256 = "1"))
        assertEquals(1f, embedding().similarityAcrossPrecisions(other), 1e-6f)
        val longer = Embedding(PROFILE, floatArrayOf(0f, 0f, 1f))
        assertRefused("cannot be compared") { embedding().similarityAcrossPrecisions(longer) }
    }

    @Test
    fun `bytes bring back vector and profile`() {
        val back = Embedding.fromBytes(embedding().toBytes())
        assertEquals(PROFILE, back.profile)
        assertArrayEquals(vector, back.toFloatArray(), 0f)
    }

    @Test
    fun `bytes that are cut or foreign are refused`() {
        val bytes = embedding().toBytes()
        for (size in bytes.indices) {
            assertRefused("not an embedding") { Embedding.fromBytes(bytes.copyOf(size)) }
        }
        assertRefused("not an embedding") { Embedding.fromBytes(bytes + 0) }
        assertRefused("not an embedding") { Embedding.fromBytes("another format altogether".toByteArray()) }
    }

    @Test
    fun `what is taken out of an embedding does not change it`() {
        val one = embedding()
        one.toFloatArray()[0] = 9f
        assertEquals(1f, one.similarity(embedding()), 1e-6f)
    }
}
