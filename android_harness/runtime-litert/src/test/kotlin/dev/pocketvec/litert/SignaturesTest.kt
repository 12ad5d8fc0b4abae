package dev.pocketvec.litert

import dev.pocketvec.PocketvecException
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class SignaturesTest {
    private val signatures = Signatures(listOf(4, 8, 16), padId = 7)

    @Test
    fun `a text goes into the shortest signature that holds it`() {
        assertEquals(listOf(0, 0, 1, 1, 2, 2), listOf(1, 4, 5, 8, 9, 16).map(signatures::shortestFor))
    }

    @Test
    fun `a text longer than every signature is refused with both numbers`() {
        val error = assertThrows(PocketvecException::class.java) { signatures.shortestFor(17) }
        assertEquals("17 tokens: the longest signature takes 16", error.message)
    }

    @Test
    fun `padding stands behind the ids and fills the signature`() {
        assertArrayEquals(intArrayOf(2, 5, 1, 7, 7, 7, 7, 7), signatures.padded(intArrayOf(2, 5, 1), 1))
    }
}
