package dev.pocketvec

import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.floatOrNull
import kotlinx.serialization.json.intOrNull
import kotlinx.serialization.json.longOrNull

/** A JSON object whose fields are read by type; a wrong one is named with its value and place. */
internal class JsonFields(private val fields: JsonObject, private val place: String) {
    val names: Set<String> get() = fields.keys

    fun string(name: String): String =
        (fields[name] as? JsonPrimitive)?.takeIf { it.isString }?.content ?: wrong(name, "a string")

    fun int(name: String): Int = number(name)?.intOrNull ?: wrong(name, "an integer")

    fun long(name: String): Long = number(name)?.longOrNull ?: wrong(name, "an integer")

    fun boolean(name: String): Boolean = number(name)?.booleanOrNull ?: wrong(name, "true or false")

    fun within(name: String): JsonFields =
        JsonFields(fields[name] as? JsonObject ?: wrong(name, "an object"), "$place: $name")

    fun strings(name: String): List<String> =
        array(name).map { one ->
            (one as? JsonPrimitive)?.takeIf { it.isString }?.content ?: wrong(name, "strings")
        }

    fun ints(name: String): IntArray =
        array(name).map { (it as? JsonPrimitive)?.intOrNull ?: wrong(name, "integers") }.toIntArray()

    fun floats(name: String): FloatArray =
        array(name).map { (it as? JsonPrimitive)?.floatOrNull ?: wrong(name, "numbers") }.toFloatArray()

    /** What [read] makes of a field, null when it is not there or null itself. */
    fun <T> ifThere(name: String, read: JsonFields.(String) -> T): T? =
        if (fields[name] is JsonNull?) null else read(name)

    fun objects(name: String): List<JsonFields> =
        array(name).mapIndexed { index, one ->
            JsonFields(one as? JsonObject ?: wrong(name, "objects"), "$place: $name[$index]")
        }

    fun array(name: String): JsonArray = fields[name] as? JsonArray ?: wrong(name, "a list")

    private fun number(name: String): JsonPrimitive? =
        (fields[name] as? JsonPrimitive)?.takeUnless { it.isString }

    private fun wrong(name: String, expected: String): Nothing =
        throw PocketvecException("$place: '$name' is ${fields[name] ?: "missing"}, it must be $expected")

    companion object {
        fun parse(text: String, place: String): JsonFields =
            when (val found = element(text, place)) {
                is JsonObject -> JsonFields(found, place)
                else -> throw PocketvecException("$place: not an object")
            }

        fun element(text: String, place: String): JsonElement =
            try {
                Json.parseToJsonElement(text)
            } catch (error: SerializationException) {
                val reason = error.message?.lineSequence()?.first()
                throw PocketvecException("$place: not valid JSON ($reason)", error)
            }
    }
}
