package dev.pocketvec.bench

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class VectorsFileTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun `rows are float32 in little endian one after the other`() {
        val file = VectorsFile(temporary.root, 2).use { vectors ->
            vectors.add(floatArrayOf(1f, -2.5f))
            vectors.add(floatArrayOf(0f, 3f))
            assertEquals(2, vectors.rows)
            vectors.finish()
        }
        val numbers = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        assertEquals(listOf(1f, -2.5f, 0f, 3f), List(numbers.remaining(), numbers::get))
    }

    @Test
    fun `a file that is not finished leaves nothing`() {
        VectorsFile(temporary.root, 2).use { it.add(floatArrayOf(1f, 2f)) }
        assertEquals(emptyList<File>(), temporary.root.listFiles().orEmpty().toList())
    }

    @Test
    fun `a row of another length is refused`() {
        VectorsFile(temporary.root, 2).use { vectors ->
            assertThrows(IllegalArgumentException::class.java) { vectors.add(FloatArray(3)) }
        }
    }
}
