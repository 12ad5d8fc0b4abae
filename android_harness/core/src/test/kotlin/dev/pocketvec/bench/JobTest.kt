package dev.pocketvec.bench

import dev.pocketvec.assertRefused
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

private const val JOB = """{"schema": "pocketvec.job/1", "id": "ab12", "kind": "host",
    "artifact": "artifacts/a", "states": ["none"], "lengths": [16, 64], "runs": 30, "threads": 2,
    "max_warm_up": 60, "texts": null}"""

class JobTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private fun read(old: String = "", new: String = ""): Job {
        require(old in JOB)
        return Job.read(File(temporary.root, "job.json").apply { writeText(JOB.replace(old, new)) })
    }

    @Test
    fun `the driver's fields are read`() {
        val job = Job.read(File(temporary.root, "job.json").apply { writeText(JOB) })
        assertEquals("ab12", job.id)
        assertEquals("none", job.state)
        assertEquals(listOf(16, 64), job.lengths)
        assertNull(job.texts)
        assertEquals("texts/t.jsonl", read("null", "\"texts/t.jsonl\"").texts)
    }

    @Test
    fun `a process has one state`() = assertRefused("states", "one alone") {
        read("[\"none\"]", "[\"build\", \"warm\"]")
    }

    @Test
    fun `an unknown state is refused`() = assertRefused("state 'hot'") { read("[\"none\"]", "[\"hot\"]") }

    @Test
    fun `an id that leaves the folder is refused`() = assertRefused("id '../x'") { read("ab12", "../x") }

    @Test
    fun `another schema is refused`() = assertRefused("pocketvec.job/2") { read("job/1", "job/2") }

    @Test
    fun `no length is refused`() = assertRefused("lengths") { read("[16, 64]", "[]") }

    @Test
    fun `a length of nothing is refused`() = assertRefused("lengths [0, 64]") { read("[16, 64]", "[0, 64]") }

    @Test
    fun `an absent job is named`() = assertRefused("nowhere.json: no such file") {
        Job.read(File(temporary.root, "nowhere.json"))
    }
}
