package dev.pocketvec

import java.io.File
import java.io.Reader

/**
 * A text behind its literal prompt, and what a right client makes of it.
 *
 * @property ids its token ids, special ones included.
 * @property vector the fp32 PyTorch model's unit vector at the profile's dimension.
 */
public class GoldenText(
    public val text: String,
    public val prompt: String,
    public val ids: IntArray,
    public val vector: FloatArray,
)

/** golden.json of an artifact, read text by text: hundreds of kilobytes, of which a self-test needs few. */
public object GoldenFile {
    public const val NAME: String = "golden.json"

    /** All golden texts, in the file's order. Throws [PocketvecException] for a file without them. */
    public fun read(folder: File): List<GoldenText> = stream(folder) { it.toList() }

    /**
     * Hands the texts to [use] in the file's order, each parsed when it is asked for.
     *
     * @throws PocketvecException for a file that is absent, damaged or without texts.
     */
    public fun <T> stream(folder: File, use: (Sequence<GoldenText>) -> T): T {
        val file = File(folder, NAME)
        if (!file.isFile) throw PocketvecException("$file: no such file")
        return file.bufferedReader().use { reader ->
            use(rows(reader, "$file").map { goldenText(JsonFields.parse(it, "$file")) })
        }
    }

    private fun goldenText(row: JsonFields): GoldenText =
        GoldenText(row.string("text"), row.string("prompt"), row.ints("ids"), row.floats("vector"))

    /** The objects within the outermost one, as they stand there. */
    private fun rows(reader: Reader, place: String): Sequence<String> = sequence {
        val scanner = Braces()
        val row = StringBuilder()
        var found = false
        while (true) {
            val next = reader.read().takeIf { it >= 0 }?.toChar() ?: break
            val before = scanner.depth
            scanner.pass(next)
            if (scanner.depth >= 2 || before >= 2) row.append(next)
            if (before == 2 && scanner.depth == 1) {
                yield(row.toString())
                row.clear()
                found = true
            }
        }
        if (scanner.depth != 0) throw PocketvecException("$place: not valid JSON (it ends too early)")
        if (!found) throw PocketvecException("$place: it holds no golden texts")
    }
}

/** How many braces are open at a place of a JSON text. */
private class Braces {
    var depth: Int = 0
        private set
    private var inString = false
    private var escaped = false

    fun pass(next: Char) {
        when {
            escaped -> escaped = false
            inString && next == '\\' -> escaped = true
            next == '"' -> inString = !inString
            inString -> Unit
            next == '{' -> depth++
            next == '}' -> depth--
        }
    }
}
