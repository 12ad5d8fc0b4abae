package dev.pocketvec.tokenizer

import dev.pocketvec.JsonFields
import dev.pocketvec.PocketvecException
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.intOrNull
import java.io.File

/** A tokenizer.json of BERT's kind. What else it may say is refused by its name. */
internal class WordPieceFile private constructor(private val root: JsonFields, private val place: String) {
    private val model = part("model", "WordPiece")
    private val vocabulary: Map<String, Int> = model.within("vocab").run { names.associateWith(::int) }
    private val added = addedRows()

    fun encoder(): WordPieceEncoder {
        part("pre_tokenizer", "BertPreTokenizer")
        val normalizer = normalizer()
        return WordPieceEncoder(
            addedTokens(added.filter { !it.isNormalised }) { it },
            normalizer,
            addedTokens(added.filter { it.isNormalised }, normalizer::normalise),
            wordPieces(),
            template(),
        )
    }

    fun normalizer(): BertNormalizer {
        val settings = part("normalizer", "BertNormalizer")
        val lowers = settings.boolean("lowercase")
        return BertNormalizer(
            cleansText = settings.boolean("clean_text"),
            spacesChinese = settings.boolean("handle_chinese_chars"),
            stripsAccents = settings.ifThere("strip_accents") { boolean(it) } ?: lowers,
            lowers = lowers,
        )
    }

    private class AddedRow(val text: String, val id: Int, val isNormalised: Boolean, val isSpecial: Boolean)

    private fun wordPieces(): WordPieces {
        val unknown = model.string("unk_token")
        val id = vocabulary[unknown] ?: refuse("unk_token '$unknown' is not in the vocabulary")
        val continuing = model.string("continuing_subword_prefix")
        return WordPieces(PieceTable(vocabulary), id, continuing, model.int("max_input_chars_per_word"))
    }

    /** The added tokens, each with the id that the `tokenizers` library gives it when it loads the file. */
    private fun addedRows(): List<AddedRow> {
        var fresh = vocabulary.size
        return root.ifThere("added_tokens") { objects(it) }.orEmpty().map { row ->
            val text = row.string("content")
            val flag = UNSUPPORTED_FLAGS.firstOrNull { row.boolean(it) }
            if (flag != null) refuse("added token '$text': $flag is not supported")
            val id = vocabulary[text] ?: fresh++
            if (row.int("id") != id) refuse("added token '$text': the library gives it the id $id")
            AddedRow(text, id, row.boolean("normalized"), row.boolean("special"))
        }
    }

    private fun addedTokens(rows: List<AddedRow>, normalise: (String) -> String): AddedTokens {
        val tokens = rows.associate { normalise(it.text) to it.id }
        val isClear = tokens.size == rows.size && "" !in tokens
        if (!isClear) refuse("added tokens that are empty or alike are not supported")
        return AddedTokens.of(tokens)
    }

    private fun template(): Template {
        val settings = root.ifThere("post_processor") { within(it) }
        val (prefix, suffix) = when (val type = settings?.string("type")) {
            null -> listOf(emptyList(), emptyList())
            "BertProcessing" -> listOf(listOf(pairedId(settings, "cls")), listOf(pairedId(settings, "sep")))
            "TemplateProcessing" -> templateSides(settings)
            else -> refuse("post_processor $type is not supported, only BertProcessing or TemplateProcessing")
        }
        val special = added.filter { it.isSpecial }.map { it.id }.toSet()
        return Template(prefix.toIntArray(), suffix.toIntArray(), special)
    }

    /** The id in a pair of a token's text and its id. */
    private fun pairedId(settings: JsonFields, name: String): Int =
        (settings.array(name).getOrNull(1) as? JsonPrimitive)?.intOrNull ?: refuse("'$name' has no id")

    private fun templateSides(settings: JsonFields): List<List<Int>> {
        val sides = mutableListOf(mutableListOf<Int>())
        for (part in settings.objects("single")) {
            val token = part.ifThere("SpecialToken") { within(it).string("id") }
            if (token == null) {
                sides += mutableListOf<Int>()
            } else {
                sides.last() += settings.within("special_tokens").within(token).ints("ids").toList()
            }
        }
        if (sides.size != 2) refuse("a template without exactly one text is not supported")
        return sides
    }

    private fun part(name: String, supported: String): JsonFields {
        val fields = root.ifThere(name) { within(it) }
        val type = fields?.string("type")
        if (fields == null || type != supported) refuse("$name $type is not supported, only $supported")
        return fields
    }

    private fun refuse(rule: String): Nothing = throw PocketvecException("$place: $rule")

    companion object {
        private val UNSUPPORTED_FLAGS = listOf("single_word", "lstrip", "rstrip")

        /** Throws PocketvecException for a file that is absent or no JSON, or whose model is no WordPiece. */
        fun read(file: File): WordPieceFile {
            if (!file.isFile) throw PocketvecException("$file: no such file")
            return WordPieceFile(JsonFields.parse(file.readText(), file.toString()), file.toString())
        }
    }
}
