package dev.pocketvec

import org.junit.Assert.assertEquals
import org.junit.Test

private const val GEMMA = "title: none | text: "

class PromptsTest {
    @Test
    fun `the title takes its slot in EmbeddingGemma's prompt`() {
        assertEquals(PromptedText("title: Salt | text: ", "brine"), splitDocument(GEMMA, "brine", "Salt"))
    }

    @Test
    fun `without a title the prompt is verbatim`() {
        val right = PromptedText(GEMMA, "brine")
        for (title in listOf(null, "")) assertEquals(right, splitDocument(GEMMA, "brine", title))
    }

    @Test
    fun `other models have the title before the text`() {
        assertEquals(PromptedText("passage: ", "Salt brine"), splitDocument("passage: ", "brine", "Salt"))
    }

    @Test
    fun `a title with a dollar sign stays as it is`() {
        assertEquals("title: $1 | text: ", splitDocument(GEMMA, "brine", "$1").prompt)
    }

    @Test
    fun `names of prompts are tried in the host's order`() {
        val prompts = mapOf("Retrieval-document" to "c", "passage" to "b", "Retrieval-query" to "q")
        assertEquals("b", documentPrompt(prompts))
        assertEquals("q", queryPrompt(prompts))
        assertEquals("", queryPrompt(emptyMap()))
    }
}
