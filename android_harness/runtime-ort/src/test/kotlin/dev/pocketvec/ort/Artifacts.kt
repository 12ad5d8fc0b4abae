package dev.pocketvec.ort

import dev.pocketvec.PocketvecException
import java.io.File
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue

/**
 * Real artifacts, made by tests/android_artifacts.py, which names their folder. Without it (in Gradle, where
 * nothing exports any) the tests that ask for one are skipped.
 */
internal fun artifactFolder(name: String): File {
    val folder = System.getProperty("pocketvec.artifacts")
    assumeTrue("pocketvec.artifacts names no folder", folder != null)
    return File(folder, name)
}

/** Whether [action] is refused with every one of [parts] in the message. */
internal fun assertRefused(vararg parts: String, action: () -> Unit) {
    val message = assertThrows(PocketvecException::class.java) { action() }.message.orEmpty()
    for (part in parts) assertTrue("'$part' is not in: $message", part in message)
}
