package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException
import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.File

/**
 * Tokenises files of texts for tests/test_android_tokenizer.py, all of them in one process.
 *
 * The arguments are groups of five: `bpe`, `wordpiece` or `normalise`; the tokenizer's file; `true` or
 * `false` for lowering; the limit of tokens; the file of texts, beside which the answers are written
 * (`.ids`). Texts are a count, then prompt and text of each; a string is its length and that many UTF-16
 * units, so that half surrogate pairs can be written. An answer is a count and that many numbers, or -1
 * and what the refusal says.
 */
internal fun main(arguments: Array<String>) {
    arguments.toList().chunked(FIELDS).forEach { job ->
        val texts = File(job.last())
        val answers = File("$texts.ids").outputStream().buffered()
        DataOutputStream(answers).use { out -> answer(job, readTexts(texts), out) }
    }
}

private const val FIELDS = 5
private const val KB = 1000
private const val REFUSED = -1
private const val NANOSECONDS_PER_MICROSECOND = 1e3

private fun answer(job: List<String>, texts: List<Pair<String, String>>, out: DataOutputStream) {
    val before = usedHeap()
    val opened = try {
        open(job)
    } catch (error: PocketvecException) {
        return out.refuse(error)
    }
    val held = usedHeap() - before
    val start = System.nanoTime()
    for ((prompt, text) in texts) {
        try {
            val ids = opened(text, prompt)
            out.writeInt(ids.size)
            ids.forEach(out::writeInt)
        } catch (error: PocketvecException) {
            out.refuse(error)
        }
    }
    val each = (System.nanoTime() - start) / NANOSECONDS_PER_MICROSECOND / maxOf(texts.size, 1)
    println("${File(job[1]).name} limit ${job[3]}: ${texts.size} texts, %.0f us each".format(each))
    println("  heap ${held / KB} KB once open, ${(usedHeap() - before) / KB} KB after the texts")
}

private fun open(job: List<String>): (String, String) -> IntArray {
    val (kind, path, lowers, limit) = job
    if (kind == "normalise") {
        val normalizer = WordPieceFile.read(File(path)).normalizer()
        return { text, _ -> normalizer.normalise(text).codePoints().toArray() }
    }
    val opener = if (kind == "bpe") BpeTokenizer::open else WordPieceTokenizer::open
    val tokenizer = opener(File(path), lowers.toBoolean(), limit.toInt())
    return { text, prompt -> tokenizer.ids(text, prompt) }
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
