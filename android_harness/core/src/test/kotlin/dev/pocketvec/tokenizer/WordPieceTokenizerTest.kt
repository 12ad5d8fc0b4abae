package dev.pocketvec.tokenizer

import dev.pocketvec.assertRefused
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class WordPieceTokenizerTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val pieces = listOf(
        *arrayOf("[PAD]", "[UNK]", "[CLS]", "[SEP]", "salt", "##y", "##s", "sal"),
        *arrayOf("!", "日", "e", "é", "##t", "##ter", "##te"),
    )
    private val vocabulary = pieces.mapIndexed { id, piece -> "\"$piece\": $id" }.joinToString()
    private val cls = """{"id": 2, "content": "[CLS]", "special": true, "normalized": false, $FLAGS}"""
    private val egg = """{"id": 15, "content": "Egg", "special": false, "normalized": true, $FLAGS}"""
    private val json = """{
        "truncation": {"max_length": 2}, "padding": null,
        "added_tokens": [$cls, $egg],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}},
                       {"SpecialToken": {"id": "[SEP]"}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2]}, "[SEP]": {"id": "[SEP]", "ids": [3]}}},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 10, "vocab": {$vocabulary}}}"""

    private fun tokenizer(maxTokens: Int = 64, change: (String) -> String = { it }): Tokenizer {
        val file = folder.newFile().apply { writeText(change(json)) }
        return WordPieceTokenizer.open(file, lowerCase = false, maxTokens = maxTokens)
    }

    private fun Tokenizer.pieces(text: String): List<String> =
        ids(text).map { (pieces + "Egg")[it] }.drop(1).dropLast(1)

    @Test
    fun `the longest piece comes first and an unfinished word is unknown`() {
        assertEquals(listOf("salt", "##y", "##s"), tokenizer().pieces("saltys"))
        assertEquals(listOf("sal", "##s"), tokenizer().pieces("sals"))
        assertEquals(listOf("[UNK]", "salt"), tokenizer().pieces("salter salt")) // though it is sal, ##ter
    }

    @Test
    fun `a word longer than the model's limit is unknown`() {
        assertEquals(listOf("salt") + List(6) { "##y" }, tokenizer().pieces("saltyyyyyy"))
        assertEquals(listOf("[UNK]"), tokenizer().pieces("saltyyyyyyy"))
    }

    @Test
    fun `punctuation and ideographs stand alone and controls vanish`() {
        val text = "sa\u0000lt!日日!salt\u00A0\t"
        assertEquals(listOf("salt", "!", "日", "日", "!", "salt"), tokenizer().pieces(text))
    }

    @Test
    fun `accents go with lower case unless the file says otherwise`() {
        assertEquals(listOf("e", "e"), tokenizer().pieces("É e\u0301"))
        val kept = tokenizer { it.replace("\"strip_accents\": null", "\"strip_accents\": false") }
        assertEquals(listOf("é"), kept.pieces("É"))
    }

    @Test
    fun `added tokens are found inside words in the text or the normalised text`() {
        assertEquals(listOf("salt", "[CLS]", "salt"), tokenizer().pieces("salt[CLS]salt"))
        assertEquals(listOf("salt", "Egg", "[UNK]"), tokenizer().pieces("saltEGGs"))
    }

    @Test
    fun `special tokens of a pair are read too and count towards the limit`() {
        val bert = """"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], """
        val pair = tokenizer(3) { it.replace(""""type": "TemplateProcessing",""", bert) }
        assertEquals(listOf(2, 4, 3), pair.ids("salt salt").toList())
        assertEquals(listOf(2, 4, 3), tokenizer(3).ids("salt salt").toList())
    }

    @Test
    fun `a prompt's last special token counts only if the file calls it special`() {
        assertEquals(3, tokenizer().promptTokens("salt"))
        val sep = cls.replace("\"id\": 2", "\"id\": 3").replace("[CLS]", "[SEP]")
        assertEquals(2, tokenizer { it.replace(cls, "$cls, $sep") }.promptTokens("salt"))
    }

    @Test
    fun `what is no BERT is refused by its name`() {
        val changes = mapOf(
            "\"WordPiece\"" to "\"Unigram\"",
            "\"BertNormalizer\"" to "\"NFKC\"",
            "\"BertPreTokenizer\"" to "\"Metaspace\"",
            "\"TemplateProcessing\"" to "\"RobertaProcessing\"",
            "\"lstrip\": false" to "\"lstrip\": true",
        )
        for ((old, new) in changes) {
            assertRefused(new.split('"')[1], "not supported") { tokenizer { it.replace(old, new) } }
        }
    }

    @Test
    fun `a file that is no JSON is refused`() {
        assertRefused("not valid JSON") { tokenizer { it.dropLast(1) } }
    }

    private companion object {
        const val FLAGS = """"single_word": false, "lstrip": false, "rstrip": false"""
    }
}
