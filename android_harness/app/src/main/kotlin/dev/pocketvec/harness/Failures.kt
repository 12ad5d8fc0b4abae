package dev.pocketvec.harness

import dev.pocketvec.PocketvecException

/** What went wrong in one line: our own exceptions say it themselves, others are named with their kind. */
internal fun oneLine(failure: Throwable): String {
    val message = failure.message?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim()
    val kind = failure.javaClass.simpleName
    if (failure is PocketvecException && message != null) return message
    return listOfNotNull(kind, message).joinToString(": ")
}
