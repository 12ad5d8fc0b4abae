package dev.pocketvec.tokenizer

import dev.pocketvec.assertRefused
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class BpeTokenizerTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val pieces = listOf(
        *arrayOf("<pad>", "<eos>", "<bos>", "<unk>", "a", "b", "c", "\u2581"),
        *arrayOf("ab", "bc", "aa", "aaaa", "\u2581a"),
        *arrayOf("abc", "bc1", "\u2581\u2581", "<t", "<t1>", "<t12>", "<", "t", "1", "2", "<0xC3>", "<0xA9>"),
    )

    private fun tokenizer(
        maxTokens: Int = 64,
        lowerCase: Boolean = false,
        change: TableBuilder.() -> Unit = {},
    ): Tokenizer {
        val table = TableBuilder(pieces).apply {
            merges = listOf("b" to "c", "a" to "b", "a" to "a", "aa" to "aa", "\u2581" to "a")
            steps = listOf(" " to "\u2581")
            prefix = listOf("<bos>")
            suffix = listOf("<eos>")
            unknown = "<unk>"
            boundary = '\u2581'
            change()
        }
        return BpeTokenizer.open(table.write(folder.newFile()), lowerCase, maxTokens)
    }

    private fun Tokenizer.pieces(text: String, prompt: String = ""): List<String> =
        ids(text, prompt).map { pieces[it] }

    private fun Tokenizer.body(text: String): List<String> = pieces(text).drop(1).dropLast(1)

    @Test
    fun `the merge of the lowest rank comes first`() {
        assertEquals(listOf("a", "bc"), tokenizer().body("abc"))
        assertEquals(listOf("ab"), tokenizer().body("ab"))
    }

    @Test
    fun `a pair that another merge has changed waits for its own rank`() {
        val tokenizer = tokenizer { merges = listOf("b" to "c", "a" to "b", "bc" to "1", "a" to "bc") }
        assertEquals(listOf("a", "bc1"), tokenizer.body("abc1"))
        assertEquals(listOf("abc"), tokenizer.body("abc"))
    }

    @Test
    fun `of equal ranks the leftmost is merged first`() {
        assertEquals(listOf("aa", "a"), tokenizer().body("aaa"))
    }

    @Test
    fun `a hundred thousand letters are merged in one go`() {
        assertEquals(List(25_000) { "aaaa" }, tokenizer(maxTokens = 1_000_000).body("a".repeat(100_000)))
    }

    @Test
    fun `prompt and text are one text`() {
        assertEquals(listOf("<bos>", "ab", "<eos>"), tokenizer().pieces("b", prompt = "a"))
    }

    @Test
    fun `text between boundaries has the same ids each time`() {
        val tokenizer = tokenizer { merges = listOf("b" to "c", "\u2581" to "\u2581", "\u2581" to "a") }
        val expected = listOf("a", "bc", "\u2581a", "bc", "\u2581\u2581", "a")
        repeat(2) { assertEquals(expected, tokenizer.body("abc abc  a")) }
    }

    @Test
    fun `a text without boundary is one word`() {
        val tokenizer = tokenizer { boundary = null }
        assertEquals(listOf("a", "\u2581a"), tokenizer.body("a a"))
    }

    @Test
    fun `the longest added token wins and a shorter one that it begins with is found too`() {
        val tokenizer = tokenizer { raw = listOf("<t", "<t1>", "<t12>") }
        assertEquals(listOf("<t12>", "<t1>", "<t", "1", "2", "a"), tokenizer.body("<t12><t1><t12a"))
        assertEquals(listOf("<", "<t1>", "a"), tokenizer.body("<<t1>a"))
    }

    @Test
    fun `added tokens are looked for in the normalised text where they are normalised`() {
        val few: TableBuilder.() -> Unit = { merges = listOf("a" to "b") }
        assertEquals(listOf("b", "\u2581", "ab"), tokenizer(change = few).body("b ab"))
        assertEquals(listOf("b", "\u2581", "ab"), tokenizer { few(); raw = listOf("\u2581a") }.body("b ab"))
        val normalised = tokenizer { few(); normalised = listOf("\u2581a") }
        assertEquals(listOf("b", "\u2581a", "b"), normalised.body("b ab"))
    }

    @Test
    fun `text is cut behind every split`() {
        val tokenizer = tokenizer { split = "a"; boundary = null }
        assertEquals(listOf("a", "a", "b", "a"), tokenizer.body("aaba"))
    }

    @Test
    fun `a step without pattern puts its content before the text`() {
        val tokenizer = tokenizer { steps = listOf("" to "\u2581", "c" to "") }
        assertEquals(listOf("\u2581", "ab"), tokenizer.body("acb"))
        assertEquals(listOf("\u2581"), tokenizer.body("c"))
        assertEquals(emptyList<String>(), tokenizer.body(""))
    }

    @Test
    fun `a character that the vocabulary lacks becomes its bytes or the unknown token`() {
        assertEquals(listOf("<0xC3>", "<0xA9>"), tokenizer().body("é"))
        assertEquals(listOf("a", "<unk>", "<unk>", "b"), tokenizer().body("añöb"))
        assertEquals(listOf("a", "<unk>", "b"), tokenizer { fusesUnknown = true }.body("añöb"))
        assertEquals(listOf("ab"), tokenizer { unknown = null }.body("añöb"))
    }

    @Test
    fun `a limit counts the special tokens and one below them cuts nothing`() {
        assertEquals(listOf("<bos>", "a", "<eos>"), tokenizer(3).pieces("abc"))
        assertEquals(listOf("<bos>", "<eos>"), tokenizer(2).pieces("abc"))
        assertEquals(listOf("<bos>", "a", "bc", "<eos>"), tokenizer(1).pieces("abc"))
    }

    @Test
    fun `a prompt has so many tokens without the special one behind it`() {
        assertEquals(3, tokenizer().promptTokens("abc"))
        assertEquals(0, tokenizer().promptTokens(""))
        assertEquals(2, tokenizer { suffix = emptyList(); prefix = emptyList() }.promptTokens("abc"))
    }

    @Test
    fun `text is lowered where the manifest says so`() {
        assertEquals(listOf("a", "bc"), tokenizer(lowerCase = true).body("ABC"))
    }

    @Test
    fun `half a surrogate pair is refused`() {
        for (text in listOf("\uD83D", "ab\uDC4D", "\uDC4D\uD83D")) {
            assertRefused("half a surrogate pair") { tokenizer().ids(text) }
        }
        assertEquals(listOf("<unk>"), tokenizer().body("\uD83D\uDC4D"))
    }

    @Test
    fun `a text without any token is refused`() {
        val bare = tokenizer { prefix = emptyList(); suffix = emptyList() }
        assertRefused("gives no token") { bare.ids("") }
        assertEquals(listOf("a"), bare.pieces("", prompt = "a"))
    }

    @Test
    fun `a file that is damaged is refused with its name`() {
        val whole = TableBuilder(pieces).bytes()
        val damages = mapOf(
            ByteArray(0) to "not a tokenizer of pocketvec's",
            whole.copyOf(60) to "not whole",
            whole.copyOf(whole.size + 8) to "not whole",
            whole.clone().also { it[8] = 2 } to "version 2",
            whole.clone().also { it[60] = 1 } to "'char_pages' lies outside the file",
            whole.clone().also { it[55] = -1 } to "'char_pages' lies outside the file",
            whole.clone().also { it[24] = 1 } to "do not fit each other",
        )
        for ((content, rule) in damages) {
            val file = folder.newFile().apply { writeBytes(content) }
            assertRefused("$file: ", rule) { BpeTokenizer.open(file, lowerCase = false, maxTokens = 64) }
        }
    }
}
