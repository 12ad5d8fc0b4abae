package dev.pocketvec

import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue

/** Whether [action] is refused in one line that holds every one of [parts]. */
internal fun assertRefused(vararg parts: String, action: () -> Unit) {
    val message = assertThrows(PocketvecException::class.java) { action() }.message.orEmpty()
    for (part in parts) assertTrue("'$part' is not in: $message", part in message)
    assertTrue("more than a line: $message", '\n' !in message)
}
