package dev.pocketvec

import java.io.File

/** An artifact's folder as `pocketvec export` and `quantize` write it: one profile of one model. */
public class Artifact private constructor(public val folder: File, public val manifest: Manifest) {
    /** The graph; an ONNX graph has its weights in further files beside it, found by the runtime. */
    public val modelFile: File = File(folder, modelName(manifest, folder))

    /**
     * Hash of graph and weights: what a runtime's cache of packed weights depends on, and what tells vectors
     * of one profile from those of the same profile made anew.
     */
    public val weightsSha256: String
        get() = manifest.files.toSortedMap()
            .filterKeys { it.startsWith(modelFile.name) }
            .entries.joinToString("\n") { (name, entry) -> "$name ${entry.sha256}" }
            .let { sha256(it.toByteArray()) }

    /**
     * Reads every file and compares it with the manifest. It takes about as long as copying the model: worth
     * it once after a download, not at each start.
     *
     * @throws PocketvecException naming the file that was altered.
     */
    public fun verify() {
        for ((name, entry) in manifest.files) {
            if (sha256(File(folder, name)) != entry.sha256) {
                throw PocketvecException("${File(folder, name)}: its SHA-256 differs from the manifest's")
            }
        }
    }

    public companion object {
        private val MODEL_NAMES = mapOf("onnx" to "model.onnx", "litert" to "model.tflite")

        /**
         * Reads the manifest and checks that every file is there in its full size.
         *
         * @throws PocketvecException naming what is missing, truncated, or made for a runtime unknown here.
         */
        @JvmStatic
        public fun open(folder: File): Artifact {
            if (!folder.isDirectory) throw PocketvecException("$folder: no such artifact folder")
            val artifact = Artifact(folder, Manifest.read(folder))
            artifact.manifest.files.forEach { (name, entry) -> checkSize(File(folder, name), entry.bytes) }
            return artifact
        }

        private fun checkSize(file: File, bytes: Long) {
            if (!file.isFile) throw PocketvecException("$file: missing, though the manifest lists it")
            if (file.length() == bytes) return
            throw PocketvecException("$file: ${file.length()} bytes, but the manifest says $bytes")
        }

        private fun modelName(manifest: Manifest, folder: File): String {
            val place = File(folder, Manifest.NAME)
            val name = MODEL_NAMES[manifest.runtime] ?: throw PocketvecException(
                "$place: runtime '${manifest.runtime}' is none of ${MODEL_NAMES.keys.joinToString()}",
            )
            if (name !in manifest.files) throw PocketvecException("$place: its file table lacks $name")
            return name
        }
    }
}
