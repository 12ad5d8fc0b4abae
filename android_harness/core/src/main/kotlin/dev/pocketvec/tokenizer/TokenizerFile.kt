package dev.pocketvec.tokenizer

import dev.pocketvec.PocketvecException
import java.io.File
import java.io.FileInputStream
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.IntBuffer
import java.nio.LongBuffer
import java.nio.ShortBuffer
import java.nio.channels.FileChannel

/** The sections of tokenizer.bin in file order; docs/tokenizer.md says what each holds. */
internal enum class Section {
    CHAR_PAGES,
    CHAR_IDS,
    BYTE_IDS,
    STEPS_STARTS,
    STEPS_BYTES,
    SPLIT,
    PREFIX,
    SUFFIX,
    SPECIAL,
    RAW_STARTS,
    RAW_BYTES,
    RAW_IDS,
    RAW_PARENTS,
    RAW_FIRST,
    NORMALISED_STARTS,
    NORMALISED_BYTES,
    NORMALISED_IDS,
    NORMALISED_PARENTS,
    NORMALISED_FIRST,
    MERGE_STARTS,
    MERGES,
    PIECE_STARTS,
    PIECE_BYTES,
}

/**
 * A mapped tokenizer.bin, looked at in place: of its content nothing is on the heap.
 *
 * @param place names the file in errors.
 */
internal class TokenizerFile(private val bytes: ByteBuffer, private val place: String) {
    /** Every token id is below it. */
    val size: Int

    /** The id of unknown characters, or NONE. */
    val unknown: Int

    /** Whether neighbouring unknown characters become one token. */
    val fusesUnknown: Boolean

    /** The code point before which text may be cut into words, or 0. */
    val boundary: Int

    private val rawLongest: Int
    private val normalisedLongest: Int

    init {
        requireHeader()
        size = bytes.getInt(SIZE_AT)
        unknown = bytes.getInt(UNKNOWN_AT)
        fusesUnknown = bytes.getInt(FLAGS_AT) and FUSE_UNKNOWN != 0
        boundary = bytes.getInt(BOUNDARY_AT)
        rawLongest = bytes.getInt(RAW_LONGEST_AT)
        normalisedLongest = bytes.getInt(NORMALISED_LONGEST_AT)
        Section.entries.forEach(::requireInside)
        requireFit()
    }

    fun section(section: Section): ByteBuffer {
        val start = offset(section).toInt()
        val view: Buffer = bytes.duplicate()
        view.position(start)
        view.limit(start + length(section).toInt())
        return (view as ByteBuffer).slice().order(ByteOrder.LITTLE_ENDIAN)
    }

    fun shorts(section: Section): ShortBuffer = section(section).asShortBuffer()

    fun ints(section: Section): IntBuffer = section(section).asIntBuffer()

    fun longs(section: Section): LongBuffer = section(section).asLongBuffer()

    fun intArray(section: Section): IntArray {
        val view = ints(section)
        return IntArray(view.limit()) { view[it] }
    }

    fun text(section: Section): String {
        val view = section(section)
        return String(ByteArray(view.limit()) { view[it] }, Charsets.UTF_8)
    }

    /** Pattern and content of each step. */
    fun steps(): List<Pair<String, String>> {
        val texts = StringTable(ints(Section.STEPS_STARTS), section(Section.STEPS_BYTES))
        return (0 until texts.size step 2).map { texts[it] to texts[it + 1] }
    }

    fun rawTokens(): AddedTokens = addedTokens(Section.RAW_STARTS, rawLongest)

    fun normalisedTokens(): AddedTokens = addedTokens(Section.NORMALISED_STARTS, normalisedLongest)

    /** The five sections from [starts] on. */
    private fun addedTokens(starts: Section, longest: Int): AddedTokens {
        val (content, ids, parents, firsts) = Section.entries.drop(starts.ordinal + 1)
        return AddedTokens(
            StringTable(ints(starts), section(content)),
            ints(ids),
            ints(parents),
            text(firsts),
            longest,
        )
    }

    private fun offset(section: Section): Long = bytes.getLong(entry(section))

    private fun length(section: Section): Long = bytes.getLong(entry(section) + Long.SIZE_BYTES)

    private fun entry(section: Section): Int = HEADER_BYTES + ENTRY_BYTES * section.ordinal

    private fun requireHeader() {
        bytes.order(ByteOrder.LITTLE_ENDIAN)
        val isLong = bytes.limit() >= HEADER_BYTES
        if (!isLong || MAGIC.indices.any { bytes[it] != MAGIC[it].code.toByte() }) {
            refuse("not a tokenizer of pocketvec's, it does not begin with 'pvtoken'")
        }
        val version = bytes.getInt(VERSION_AT)
        val count = bytes.getInt(COUNT_AT)
        if (version != VERSION || count != Section.entries.size) {
            refuse("version $version with $count sections, but this reads version $VERSION")
        }
        val whole = bytes.getLong(BYTES_AT)
        if (whole != bytes.limit().toLong() || whole < HEADER_BYTES + ENTRY_BYTES * count) {
            refuse("not whole, ${bytes.limit()} bytes of $whole")
        }
    }

    private fun requireInside(section: Section) {
        val offset = offset(section)
        val room = bytes.limit() - offset
        if (offset < 0 || offset % ALIGNMENT != 0L || length(section) < 0 || length(section) > room) {
            refuse("its section '${section.name.lowercase()}' lies outside the file")
        }
    }

    private fun requireFit() {
        val starts = Int.SIZE_BYTES * (size + 1L)
        val pages = length(Section.CHAR_IDS) / (Int.SIZE_BYTES * PAGE_CHARS)
        val fits = size > 0 &&
            length(Section.CHAR_PAGES) == Short.SIZE_BYTES * PAGES.toLong() &&
            length(Section.BYTE_IDS) == Int.SIZE_BYTES * BYTES.toLong() &&
            length(Section.MERGE_STARTS) == starts &&
            length(Section.PIECE_STARTS) == starts &&
            ints(Section.MERGE_STARTS)[size] <= length(Section.MERGES) / Long.SIZE_BYTES &&
            shorts(Section.CHAR_PAGES).let { page -> (0 until PAGES).all { page[it] in 0 until pages } } &&
            fitsStrings(Section.RAW_STARTS) &&
            fitsStrings(Section.NORMALISED_STARTS)
        if (!fits) refuse("its tables do not fit each other")
    }

    private fun fitsStrings(starts: Section): Boolean {
        val (content, ids, parents) = Section.entries.drop(starts.ordinal + 1)
        val ends = ints(starts)
        val count = ends.limit() - 1
        return count >= 0 &&
            ends[count].toLong() == length(content) &&
            listOf(ids, parents).all { length(it) == Int.SIZE_BYTES * count.toLong() }
    }

    private fun refuse(rule: String): Nothing = throw PocketvecException("$place: $rule")

    companion object {
        const val PAGE_CHARS = 256
        private const val PAGES = 0x110000 / PAGE_CHARS
        private const val BYTES = 256
        private const val MAGIC = "pvtoken\u0000"
        private const val VERSION = 1
        private const val FUSE_UNKNOWN = 1
        private const val VERSION_AT = 8
        private const val COUNT_AT = 12
        private const val BYTES_AT = 16
        private const val SIZE_AT = 24
        private const val UNKNOWN_AT = 28
        private const val FLAGS_AT = 32
        private const val BOUNDARY_AT = 36
        private const val RAW_LONGEST_AT = 40
        private const val NORMALISED_LONGEST_AT = 44
        private const val HEADER_BYTES = 48
        private const val ENTRY_BYTES = 16
        private const val ALIGNMENT = 8L

        /** Throws PocketvecException for a file that is absent, foreign, of another version or cut. */
        fun map(file: File): TokenizerFile {
            if (!file.isFile) throw PocketvecException("$file: no such file")
            val whole = FileInputStream(file).use { stream ->
                stream.channel.run { map(FileChannel.MapMode.READ_ONLY, 0, size()) }
            }
            return TokenizerFile(whole, file.toString())
        }
    }
}
