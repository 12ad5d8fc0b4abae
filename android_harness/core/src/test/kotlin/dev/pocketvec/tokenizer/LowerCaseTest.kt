package dev.pocketvec.tokenizer

import org.junit.Assert.assertEquals
import org.junit.Test

class LowerCaseTest {
    @Test
    fun `letters of every script that has cases are lowered`() {
        assertEquals("äöå ñ ж ա ა ⅷ ⓢ 𐐨 ǆ", lowered("ÄÖÅ Ñ Ж Ա Ა Ⅷ Ⓢ 𐐀 ǅ"))
        assertEquals("ß ß i\u0307 ı", lowered("ẞ ß İ ı"))
    }

    @Test
    fun `a sigma that ends a word is the final one`() {
        assertEquals("πρός τους σάκους", lowered("ΠΡΌΣ ΤΟΥΣ ΣΆΚΟΥΣ"))
        assertEquals("σ ας. α.σα ας\u0301", lowered("Σ ΑΣ. Α.ΣΑ ΑΣ\u0301"))
        assertEquals("ασ", loweredOneByOne("ΑΣ"))
    }
}
