package dev.pocketvec

private const val TITLE_SLOT = "title: none"
private val QUERY_NAMES = listOf("query", "Retrieval-query")
private val DOCUMENT_NAMES = listOf("document", "passage", "Retrieval-document")

/** A text and the literal prompt that goes before it. */
internal data class PromptedText(val prompt: String, val text: String)

/** The model's prompt for search queries; empty for a model without one. */
internal fun queryPrompt(prompts: Map<String, String>): String =
    QUERY_NAMES.firstNotNullOfOrNull(prompts::get) ?: ""

/** The model's prompt for passages; empty for a model without one. */
internal fun documentPrompt(prompts: Map<String, String>): String =
    DOCUMENT_NAMES.firstNotNullOfOrNull(prompts::get) ?: ""

/**
 * A passage with its title in place: in the slot of EmbeddingGemma's prompt (source: the model card), before
 * the text for any other model. An empty title is none.
 */
internal fun splitDocument(prompt: String, text: String, title: String?): PromptedText = when {
    title.isNullOrEmpty() -> PromptedText(prompt, text)
    TITLE_SLOT in prompt -> PromptedText(prompt.replaceFirst(TITLE_SLOT, "title: $title"), text)
    else -> PromptedText(prompt, "$title $text")
}
