package dev.pocketvec.bench

import dev.pocketvec.assertRefused
import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ResultWriterTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private fun result(loadMs: Double, headroom: Double?): Result {
        val point = MemoryPoint(1.0, 2.0, 3.0)
        val memory = Memory(point, point, point, 6.0, point, mapOf(16 to point), mapOf(16 to 6.0), 1.0, point)
        val cost = Cost(loadMs, 1.0, mapOf(16 to Timings(10, listOf(1.0))), memory, 0, emptyMap())
        val thermal = listOf(Thermal("start", 0, headroom))
        val device = Device("b", "m", "d", "f", "14", 34, "arm64-v8a", thermal = thermal)
        val target = Target("device", "cpu", 8, 4, "Android 14")
        val costs = mapOf("none" to cost)
        return Result("ab", "00", "now", target, device, emptyMap(), costs, listOf(true), 1, 4, emptyList())
    }

    @Test
    fun `a headroom that is no number is null`() {
        val file = ResultWriter.write(result(1.0, Double.NaN), temporary.root)
        val device = Json.parseToJsonElement(file.readText()).jsonObject.getValue("device").jsonObject
        assertEquals(JsonNull, device.getValue("thermal").jsonArray[0].jsonObject["headroom"])
    }

    @Test
    fun `a figure that is no number is refused and leaves no result`() {
        assertRefused("load_ms is NaN") { ResultWriter.write(result(Double.NaN, null), temporary.root) }
        assertFalse(File(temporary.root, ResultWriter.NAME).exists())
    }
}
