package dev.pocketvec.ort

import dev.pocketvec.Artifact
import dev.pocketvec.RuntimeOptions
import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class OrtRuntimeTest {
    private fun open(name: String = "onnx-q4_0-128d") =
        OrtFactory().open(Artifact.open(artifactFolder(name)), RuntimeOptions(threads = 1))

    @Test
    fun `one token gives a unit vector of the profile's dimension`() = open().use { runtime ->
        val vector = runtime.embed(intArrayOf(2))
        assertEquals(128, vector.size)
        assertEquals(1.0, sqrt(vector.sumOf { it.toDouble() * it }), 1e-5)
    }

    @Test
    fun `a longer text before leaves no trace in a shorter one`() = open("onnx-fp32-128d").use { runtime ->
        val short = intArrayOf(2, 700, 1)
        val before = runtime.embed(short)
        runtime.embed(IntArray(300) { 300 + it })
        assertArrayEquals(before, runtime.embed(short), 0f)
    }

    @Test
    fun `more tokens than the model takes, or none, are refused`() = open().use { runtime ->
        assertRefused("2049 tokens", "1 to 2048") { runtime.embed(IntArray(2049) { 300 }) }
        assertRefused("0 tokens") { runtime.embed(intArrayOf()) }
    }

    @Test
    fun `an id beyond the table is refused by the runtime too`() = open("onnx-fp32-128d").use { runtime ->
        assertRefused("onnxruntime cannot run it") { runtime.embed(intArrayOf(16384)) }
    }
}
