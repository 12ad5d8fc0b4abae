package dev.pocketvec.tokenizer

import dev.pocketvec.Manifest
import dev.pocketvec.PocketvecException
import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.File

/**
 * Tokenises files of texts for tests/test_android_tokenizer.py, all of them in one process.
 *
 * The arguments are groups of five: what to do (see `open`); the tokenizer's file; `true` or `false` for
 * lowering first; the limit of tokens; the file of texts, beside which the answers are written (`.ids`).
 * Texts are a count, then prompt and text of each; a string is its length and that many UTF-16 units, so that
 * half surrogate pairs can be written. An answer is a count and that many numbers, or -1 and what the refusal
 * says.
 */
internal fun main(arguments: Array<String>) {
    arguments.toList().chunked(FIELDS).forEach { job ->
        val answers = File("${job.last()}.ids").outputStream().buffered()
        DataOutputStream(answers).use { out -> answer(job, readTexts(File(job.last())), out) }
    }
}

private const val FIELDS = 5
private const val KB = 1000
private const val REFUSED = -1
private const val NANOSECONDS_PER_MICROSECOND = 1e3

private var kept: Any? = null

private fun answer(job: List<String>, texts: List<Pair<String, String>>, out: DataOutputStream) {
    var opened: ((String, String) -> IntArray)? = try {
        open(job)
    } catch (error: PocketvecException) {
        return out.refuse(error)
    }
    kept = texts
    val start = System.nanoTime()
    texts.forEach { (prompt, text) -> out.write { opened?.invoke(text, prompt) ?: IntArray(0) } }
    val each = (System.nanoTime() - start) / NANOSECONDS_PER_MICROSECOND / maxOf(texts.size, 1)
    val heap = usedHeap()
    opened = null
    val held = (heap - usedHeap()) / KB
    val cost = "%.0f us each, at most $held KB of heap".format(each)
    println("${File(job.last()).name}: ${texts.size} texts, $cost")
}

/** From text and prompt to ids, to code points, or for an artifact to ids and how many are the prompt's. */
private fun open(job: List<String>): (String, String) -> IntArray {
    val (kind, path, lowers, limit) = job
    val file = File(path)
    return when (kind) {
        "bpe" -> BpeTokenizer.open(file, lowers.toBoolean(), limit.toInt())::ids
        "wordpiece" -> WordPieceTokenizer.open(file, lowers.toBoolean(), limit.toInt())::ids
        "artifact" -> Tokenizers.open(file, Manifest.read(file)).run {
            { text, prompt -> ids(text, prompt) + promptTokens(prompt) }
        }
        "normalise" -> WordPieceFile.read(file).normalizer().run {
            { text, _ -> normalise(text).codePoints().toArray() }
        }
        else -> { text, _ -> lowered(text).codePoints().toArray() }
    }
}

private fun DataOutputStream.write(ids: () -> IntArray) {
    try {
        val found = ids()
        writeInt(found.size)
        found.forEach(::writeInt)
    } catch (error: PocketvecException) {
        refuse(error)
    }
}

private fun DataOutputStream.refuse(error: PocketvecException) {
    writeInt(REFUSED)
    writeUTF(error.message.orEmpty())
}

private fun readTexts(file: File): List<Pair<String, String>> =
    DataInputStream(file.inputStream().buffered()).use { texts ->
        List(texts.readInt()) { texts.readText() to texts.readText() }
    }

private fun DataInputStream.readText(): String = String(CharArray(readInt()) { readChar() })

private fun usedHeap(): Long {
    repeat(2) { System.gc() }
    return Runtime.getRuntime().let { it.totalMemory() - it.freeMemory() }
}
