package dev.pocketvec

import java.io.File

/** A folder of an artifact's form with two bytes of model; text replaced in its manifest makes it wrong. */
internal class SampleArtifact(private val folder: File) {
    private val model = File(folder, "model.onnx").apply { writeText("ab") }
    private var manifest = """
        {"schema": "pocketvec.manifest/1", "name": "onnx-q4_0-4d", "runtime": "onnx", "precision": "q4_0",
         "dim": 4, "max_tokens": 8, "model": {"checkpoint_sha256": "c0ffee", "name": "any"},
         "prompts": {"query": "q: "}, "include_prompt": true, "unknown": [1, {"to": "us"}],
         "tokenizer": {"pad_id": 0, "vocab_size": 16, "lower_case": false},
         "files": {"model.onnx": {"bytes": 2, "sha256": "${sha256(model)}"}},
         "lengths": [], "contract": null, "session": {"execution_mode": "ORT_SEQUENTIAL"}}
    """.trimIndent()

    fun with(old: String, new: String): SampleArtifact = apply {
        require(old in manifest) { old }
        manifest = manifest.replace(old, new)
    }

    fun write(): File = folder.also { File(it, Manifest.NAME).writeText(manifest) }
}
