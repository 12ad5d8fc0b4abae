package dev.pocketvec

import java.io.File

/** Size and content hash of one file of an artifact. */
public data class FileEntry(public val bytes: Long, public val sha256: String)

/**
 * What manifest.json says about a profile, as far as a client needs it; other fields are ignored.
 *
 * @property name the profile, for instance `onnx-q4_0-256d`.
 * @property runtime `onnx` or `litert`.
 * @property dim length of the vectors.
 * @property maxTokens texts are cut to so many tokens, special ones included.
 * @property checkpointSha256 identity of the weights before they were exported.
 * @property prompts the model's prompts by name, used verbatim.
 * @property includePrompt whether the prompt's tokens are pooled like the text's.
 * @property padId id that fills a text up, where a runtime needs it.
 * @property vocabSize rows of the token table: every id is below it.
 * @property lowerCase whether text is lower-cased before it is tokenised.
 * @property files the files of the folder by name.
 * @property lengths token counts of a LiteRT file's signatures, ascending; empty for ONNX.
 * @property contract the client that a LiteRT file is made for, null for pocketvec's own.
 * @property session how the runtime was set up when the profile was measured, in its own words.
 * @property sha256 hash of manifest.json itself.
 */
public class Manifest internal constructor(fields: JsonFields, public val sha256: String) {
    public val name: String = fields.string("name")
    public val runtime: String = fields.string("runtime")
    public val precision: String = fields.string("precision")
    public val dim: Int = fields.int("dim")
    public val maxTokens: Int = fields.int("max_tokens")
    public val checkpointSha256: String = fields.within("model").string("checkpoint_sha256")
    public val prompts: Map<String, String> = fields.within("prompts").run { names.associateWith(::string) }
    public val includePrompt: Boolean = fields.boolean("include_prompt")
    public val padId: Int = fields.within("tokenizer").int("pad_id")
    public val vocabSize: Int = fields.within("tokenizer").int("vocab_size")
    public val lowerCase: Boolean = fields.within("tokenizer").boolean("lower_case")
    public val files: Map<String, FileEntry> = fields.within("files").run {
        names.associateWith { name -> within(name).run { FileEntry(long("bytes"), string("sha256")) } }
    }
    public val lengths: List<Int> = fields.ifThere("lengths") { ints(it).toList() } ?: emptyList()
    public val contract: String? = fields.ifThere("contract") { string(it) }
    public val session: Map<String, String> =
        fields.ifThere("session") { within(it).run { names.associateWith(::string) } } ?: emptyMap()

    public companion object {
        public const val NAME: String = "manifest.json"
        public const val SCHEMA: String = "pocketvec.manifest/1"

        /**
         * Reads the manifest of an artifact's folder.
         *
         * @throws PocketvecException naming the file and the field when it is absent, damaged or of another
         *   schema.
         */
        @JvmStatic
        public fun read(folder: File): Manifest {
            val file = File(folder, NAME)
            if (!file.isFile) throw PocketvecException("$folder: not a whole artifact, it has no $NAME")
            val bytes = file.readBytes()
            val fields = JsonFields.parse(bytes.toString(Charsets.UTF_8), "$file")
            val schema = fields.string("schema")
            if (schema != SCHEMA) throw PocketvecException("$file: schema '$schema' is not '$SCHEMA'")
            return Manifest(fields, sha256(bytes)).also { check(it, file) }
        }

        private fun check(manifest: Manifest, file: File) {
            val sizes = mapOf(
                "dim" to manifest.dim,
                "max_tokens" to manifest.maxTokens,
                "vocab_size" to manifest.vocabSize,
            )
            val (name, value) = sizes.entries.firstOrNull { it.value <= 0 } ?: return
            throw PocketvecException("$file: '$name' is $value, it must be positive")
        }
    }
}
