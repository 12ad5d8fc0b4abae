package dev.pocketvec.ort

import dev.pocketvec.Artifact
import dev.pocketvec.EmbeddingRuntime
import dev.pocketvec.PocketvecException
import dev.pocketvec.RuntimeFactory
import dev.pocketvec.RuntimeOptions
import dev.pocketvec.bench.HostProbe
import dev.pocketvec.bench.Job
import dev.pocketvec.bench.JobRunner
import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

private const val DIM = 128
private const val PROFILE = "onnx-fp32-128d"

/** What a job finds wrong with a runtime by itself, whatever the vectors should be. */
class FaultyRuntimeTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val right = FloatArray(DIM).also { it[0] = 1f }

    @Test
    fun `unit vectors that are the same each time have no fault`() =
        assertEquals(emptyList<String>(), faults { right })

    @Test
    fun `a number that is not finite is a fault`() =
        assertEquals(listOf("not-finite"), faults { right.copyOf().also { it[3] = Float.NaN } })

    @Test
    fun `a vector that is not normalised is a fault`() =
        assertEquals(listOf("not-normalised"), faults { FloatArray(DIM) { 1f } })

    @Test
    fun `a vector of another length is a fault and the file has that length`() {
        val found = measured { FloatArray(2 * DIM).also { it[0] = 1f } }
        assertEquals(listOf("width-wrong"), names(found))
        assertEquals(2 * DIM, found.getValue("dim").jsonPrimitive.content.toInt())
    }

    @Test
    fun `a vector that moves when it is made again is a fault`() {
        var calls = 0
        assertEquals(listOf("nondeterministic"), faults { FloatArray(DIM).also { it[calls++ % 2] = 1f } })
    }

    @Test
    fun `a text that gives no vector is a fault and a row all the same`() {
        val found = measured { ids ->
            if (ids.size > 300) throw PocketvecException("too long for it") else right
        }
        assertEquals(listOf("does-not-run"), names(found))
        val equal = found.getValue("golden_ids_equal").jsonArray.map { it.jsonPrimitive.content.toBoolean() }
        assertTrue(false in equal && true in equal)
        assertEquals(equal.size, found.getValue("rows").jsonPrimitive.content.toInt())
    }

    private fun faults(embed: (IntArray) -> FloatArray): List<String> = names(measured(embed))

    private fun names(result: JsonObject): List<String> =
        result.getValue("faults").jsonArray.map { it.jsonObject.getValue("name").jsonPrimitive.content }

    private fun measured(embed: (IntArray) -> FloatArray): JsonObject {
        val artifact = artifactFolder(PROFILE)
        val job = Job.read(File(temporary.root, "job.json").apply { writeText(job(artifact.name)) })
        val root = checkNotNull(artifact.parentFile)
        val runner = JobRunner(root, HostProbe(), File(temporary.root, "cache"), Scripted(embed))
        return Json.parseToJsonElement(runner.run(job, temporary.root).readText()).jsonObject
    }

    private fun job(artifact: String): String =
        """{"schema": "${Job.SCHEMA}", "id": "faulty", "kind": "host", "artifact": "$artifact",
            "states": ["none"], "lengths": [8], "runs": 1, "threads": 1, "max_warm_up": 0}"""
}

/** A runtime that gives what it is told to. */
private class Scripted(private val vectorOf: (IntArray) -> FloatArray) : RuntimeFactory, EmbeddingRuntime {
    override val runtime: String = "onnx"
    override val name: String = "scripted"
    override val version: String = "1"

    override fun open(artifact: Artifact, options: RuntimeOptions): EmbeddingRuntime = this

    override fun embed(ids: IntArray, promptTokens: Int): FloatArray = vectorOf(ids)

    override fun close() = Unit
}
