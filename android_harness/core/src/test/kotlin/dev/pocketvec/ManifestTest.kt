package dev.pocketvec

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ManifestTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val sample by lazy { SampleArtifact(temporary.root) }

    @Test
    fun `what a client needs is read and the rest ignored`() {
        val manifest = Manifest.read(sample.write())
        assertEquals("onnx-q4_0-4d", manifest.name)
        assertEquals(4, manifest.dim)
        assertEquals("c0ffee", manifest.checkpointSha256)
        assertEquals(mapOf("query" to "q: "), manifest.prompts)
        assertEquals(FileEntry(2, sha256("ab".toByteArray())), manifest.files["model.onnx"])
        assertEquals("ORT_SEQUENTIAL", manifest.session["execution_mode"])
        assertEquals(emptyList<Int>(), manifest.lengths)
        assertNull(manifest.contract)
        assertEquals(sha256(File(temporary.root, Manifest.NAME)), manifest.sha256)
    }

    @Test
    fun `fields that older manifests lack have defaults`() {
        val folder = sample.with("\"lengths\": [], \"contract\": null,", "").write()
        assertEquals(emptyList<Int>(), Manifest.read(folder).lengths)
    }

    @Test
    fun `a missing field is named with its place`() = assertRefused("tokenizer: 'vocab_size' is missing") {
        Manifest.read(sample.with("\"vocab_size\": 16, ", "").write())
    }

    @Test
    fun `a field of another type is named with its value`() = assertRefused("'dim' is \"4\"", "an integer") {
        Manifest.read(sample.with("\"dim\": 4", "\"dim\": \"4\"").write())
    }

    @Test
    fun `a dimension of nothing is refused`() = assertRefused("'dim' is 0", "positive") {
        Manifest.read(sample.with("\"dim\": 4", "\"dim\": 0").write())
    }

    @Test
    fun `another schema is named`() = assertRefused("pocketvec.manifest/9") {
        Manifest.read(sample.with("manifest/1", "manifest/9").write())
    }

    @Test
    fun `a damaged manifest is not JSON`() = assertRefused("manifest.json: not valid JSON") {
        Manifest.read(sample.with("\"dim\": 4,", "\"dim\": 4").write())
    }

    @Test
    fun `a folder without a manifest is not whole`() = assertRefused("not a whole artifact") {
        Manifest.read(temporary.root)
    }
}
