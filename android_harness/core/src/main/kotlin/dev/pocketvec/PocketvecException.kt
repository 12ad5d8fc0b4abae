package dev.pocketvec

/**
 * Something that an app can cause or meet: a folder that is no artifact, a model that is not the manifest's,
 * vectors that do not belong together. The message is one line with the value, the rule and the place.
 */
public class PocketvecException(message: String, cause: Throwable? = null) : RuntimeException(message, cause)
