package dev.pocketvec

import java.io.File
import java.security.MessageDigest

private const val CHUNK_BYTES = 1 shl 20

/** Lower-case hexadecimal SHA-256 of some bytes. */
internal fun sha256(bytes: ByteArray): String =
    hexadecimal(MessageDigest.getInstance("SHA-256").digest(bytes))

/** The same of a file, read in chunks. */
internal fun sha256(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val chunk = ByteArray(CHUNK_BYTES)
    file.inputStream().use { stream ->
        generateSequence { stream.read(chunk).takeIf { it >= 0 } }.forEach { digest.update(chunk, 0, it) }
    }
    return hexadecimal(digest.digest())
}

/** Two lower-case digits a byte. */
internal fun hexadecimal(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }
