package dev.pocketvec.tokenizer

import dev.pocketvec.Manifest
import dev.pocketvec.assertRefused
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File

class TokenizersTest {
    @get:Rule
    val folder = TemporaryFolder()

    private fun manifest(vararg names: String): Manifest {
        val files = names.joinToString { """"$it": {"bytes": 1, "sha256": ""}""" }
        File(folder.root, Manifest.NAME).writeText(
            """{"schema": "${Manifest.SCHEMA}", "name": "n", "runtime": "onnx", "precision": "q4_0", "dim": 8,
            "max_tokens": 2, "model": {"checkpoint_sha256": ""}, "prompts": {}, "include_prompt": true,
            "tokenizer": {"pad_id": 0, "vocab_size": 3, "lower_case": true}, "files": {$files}}""",
        )
        return Manifest.read(folder.root)
    }

    @Test
    fun `the table is used where there is one with the manifest's settings`() {
        TableBuilder(listOf("x", "a", "b")).write(File(folder.root, "tokenizer.bin"))
        val tokenizer = Tokenizers.open(folder.root, manifest("tokenizer.bin", "tokenizer.json"))
        assertEquals(listOf(1, 2), tokenizer.ids("ABBA").toList())
    }

    @Test
    fun `an artifact without the table has its tokenizer json read`() {
        File(folder.root, "tokenizer.json").writeText("""{"model": {"type": "BPE"}}""")
        assertRefused("model BPE is not supported, only WordPiece") {
            Tokenizers.open(folder.root, manifest("tokenizer.json"))
        }
    }

    @Test
    fun `an artifact without tokenizer is refused`() {
        assertRefused("neither tokenizer.bin nor tokenizer.json") { Tokenizers.open(folder.root, manifest()) }
    }
}
