package dev.pocketvec.bench

import dev.pocketvec.JsonFields
import dev.pocketvec.PocketvecException
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonPrimitive
import java.io.File

/**
 * Hands every (prompt, text) of a job's text file to [use], line by line.
 *
 * @throws PocketvecException naming the line that is no `[prompt, text]`.
 */
internal fun forEachText(file: File, use: (prompt: String, text: String) -> Unit) {
    if (!file.isFile) throw PocketvecException("$file: no such file")
    file.useLines { lines ->
        lines.forEachIndexed { index, line ->
            val place = "$file: line ${index + 1}"
            val pair = (JsonFields.element(line, place) as? JsonArray)
                ?.mapNotNull { one -> (one as? JsonPrimitive)?.takeIf { it.isString }?.content }
                ?.takeIf { it.size == 2 } ?: throw PocketvecException("$place: it must be [prompt, text]")
            use(pair[0], pair[1])
        }
    }
}
