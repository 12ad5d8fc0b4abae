package dev.pocketvec

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ArtifactTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val sample by lazy { SampleArtifact(temporary.root) }
    private val model get() = File(temporary.root, "model.onnx")

    @Test
    fun `a whole folder opens and verifies`() {
        val artifact = Artifact.open(sample.write())
        assertEquals(model, artifact.modelFile)
        artifact.verify()
    }

    @Test
    fun `other weights have another hash`() {
        val before = Artifact.open(sample.write()).weightsSha256
        val other = sample.with(sha256("ab".toByteArray()), sha256("cd".toByteArray())).write()
        assertNotEquals(before, Artifact.open(other).weightsSha256)
    }

    @Test
    fun `a truncated file is named with both sizes`() {
        val folder = sample.write()
        model.writeText("a")
        assertRefused("model.onnx: 1 bytes, but the manifest says 2") { Artifact.open(folder) }
    }

    @Test
    fun `a missing file is named`() {
        val folder = sample.write()
        model.delete()
        assertRefused("model.onnx: missing") { Artifact.open(folder) }
    }

    @Test
    fun `an altered file of the right size is found when it is verified`() {
        val artifact = Artifact.open(sample.write())
        model.writeText("ba")
        assertRefused("model.onnx: its SHA-256 differs") { artifact.verify() }
    }

    @Test
    fun `a runtime that no phone has is refused`() = assertRefused("runtime 'gguf'", "onnx, litert") {
        Artifact.open(sample.with("\"runtime\": \"onnx\"", "\"runtime\": \"gguf\"").write())
    }

    @Test
    fun `no folder is no artifact`() = assertRefused("no such artifact folder") {
        Artifact.open(File(temporary.root, "nowhere"))
    }

    @Test
    fun `a runtime without a module is refused`() = assertRefused("'onnx'", "there are: none") {
        Runtimes.find("onnx")
    }
}
