package dev.pocketvec.tokenizer

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Makes small files as docs/tokenizer.md lays them out. The id of a piece is its place in the list; bytes are
 * the pieces written `<0x41>`.
 */
internal class TableBuilder(private val pieces: List<String>) {
    var merges: List<Pair<String, String>> = emptyList()
    var raw: List<String> = emptyList()
    var normalised: List<String> = emptyList()
    var steps: List<Pair<String, String>> = emptyList()
    var split: String = ""
    var prefix: List<String> = emptyList()
    var suffix: List<String> = emptyList()
    var unknown: String? = null
    var fusesUnknown: Boolean = false
    var boundary: Char? = null

    fun write(file: File): File = file.apply { writeBytes(bytes()) }

    fun bytes(): ByteArray {
        val sections = sections().map { it.copyOf(it.size + (-it.size).mod(ALIGNMENT)) to it.size }
        val bodyAt = HEADER + ENTRY * sections.size
        val size = bodyAt + sections.sumOf { it.first.size }
        val out = buffer(size)
        out.put("pvtoken\u0000".toByteArray()).putInt(1).putInt(sections.size).putLong(size.toLong())
        out.putInt(pieces.size).putInt(idOrNone(unknown)).putInt(if (fusesUnknown) 1 else 0)
        out.putInt(boundary?.code ?: 0).putInt(longest(raw)).putInt(longest(normalised))
        var offset = bodyAt
        for ((content, length) in sections) {
            out.putLong(offset.toLong()).putLong(length.toLong())
            offset += content.size
        }
        sections.forEach { out.put(it.first) }
        return out.array()
    }

    private fun sections(): List<ByteArray> = listOf(
        *characters().toTypedArray(),
        ints(List(BYTES) { byte -> pieces.indexOf("<0x%02X>".format(byte)) }),
        *strings(steps.flatMap { it.toList() }).toTypedArray(),
        split.toByteArray(),
        ints(prefix.map(::idOrNone)),
        ints(suffix.map(::idOrNone)),
        ints((prefix + suffix).map(::idOrNone).sorted()),
        *tokens(raw).toTypedArray(),
        *tokens(normalised).toTypedArray(),
        *merges().toTypedArray(),
        *strings(pieces).toTypedArray(),
    )

    private fun characters(): List<ByteArray> {
        val known = pieces.filter { codePoints(it) == 1 }.associateBy { it.codePointAt(0) }
        val used = known.keys.map { it / PAGE }.distinct()
        val pages = buffer(Short.SIZE_BYTES * (Character.MAX_CODE_POINT + 1) / PAGE)
        used.forEachIndexed { index, page -> pages.putShort(2 * page, (index + 1).toShort()) }
        val ids = used.flatMap { page -> List(PAGE) { idOrNone(known[page * PAGE + it]) } }
        return listOf(pages.array(), ints(List(PAGE) { NONE } + ids))
    }

    private fun tokens(texts: List<String>): List<ByteArray> {
        val sorted = texts.sorted() // as their bytes are, while no character needs two UTF-16 units
        val parents = sorted.map { one ->
            sorted.indexOf(sorted.filter { it != one && one.startsWith(it) }.maxByOrNull { it.length })
        }
        val firsts = texts.map { it.first() }.distinct().joinToString("")
        return strings(sorted) + listOf(ints(sorted.map(::idOrNone)), ints(parents), firsts.toByteArray())
    }

    private fun merges(): List<ByteArray> {
        val records = merges.mapIndexed { rank, (left, right) ->
            val new = idOrNone(left + right).toLong()
            idOrNone(left) to ((idOrNone(right).toLong() shl 2 * BITS) or (rank.toLong() shl BITS) or new)
        }.sortedWith(compareBy({ it.first }, { it.second }))
        val out = buffer(Long.SIZE_BYTES * records.size)
        records.forEach { out.putLong(it.second) }
        return listOf(ints(List(pieces.size + 1) { id -> records.count { it.first < id } }), out.array())
    }

    private fun strings(texts: List<String>): List<ByteArray> {
        val contents = texts.map { it.toByteArray() }
        val starts = contents.runningFold(0) { end, one -> end + one.size }
        return listOf(ints(starts), contents.fold(ByteArray(0), ByteArray::plus))
    }

    private fun ints(numbers: List<Int>): ByteArray {
        val out = buffer(Int.SIZE_BYTES * numbers.size)
        numbers.forEach(out::putInt)
        return out.array()
    }

    private fun idOrNone(piece: String?): Int = if (piece == null) NONE else pieces.indexOf(piece)

    private fun longest(texts: List<String>): Int = texts.maxOfOrNull(::codePoints) ?: 0

    private fun codePoints(text: String): Int = text.codePointCount(0, text.length)

    private fun buffer(size: Int): ByteBuffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)

    private companion object {
        const val ALIGNMENT = 8
        const val HEADER = 48
        const val ENTRY = 16
        const val PAGE = 256
        const val BYTES = 256
        const val BITS = 21
    }
}
