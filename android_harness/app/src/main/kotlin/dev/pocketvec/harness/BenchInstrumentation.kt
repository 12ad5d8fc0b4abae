package dev.pocketvec.harness

import android.app.Activity
import android.app.Instrumentation
import android.os.Bundle
import android.os.Process
import dev.pocketvec.bench.Job
import dev.pocketvec.bench.JobRunner
import java.io.File

/**
 * Runs one job without a screen and says where the result lies.
 *
 * Arguments: `root`, the folder that holds artifacts, texts and jobs; `job`, the job's path in it. The answer
 * is `INSTRUMENTATION_RESULT: result=PATH` with code -1, or `error=ONE LINE` with code 0. Status lines in
 * between have the form of one test, which is what device farms count.
 */
internal class BenchInstrumentation : Instrumentation() {
    private var arguments = Bundle()

    override fun onCreate(arguments: Bundle?) {
        super.onCreate(arguments)
        this.arguments = arguments ?: Bundle()
        start()
    }

    /** Called on a thread of its own. */
    override fun onStart() {
        super.onStart()
        // Android starts it with the screen's urgent priority, which the runtime's threads would inherit.
        Process.setThreadPriority(Process.THREAD_PRIORITY_DEFAULT)
        sendStatus(TEST_STARTED, testStatus())
        // Whatever goes wrong, a missing library as well as too little memory, has to reach the driver.
        val outcome = runCatching { run() }
        val failure = outcome.exceptionOrNull()
        if (failure == null) {
            sendStatus(TEST_PASSED, testStatus())
            finish(Activity.RESULT_OK, bundle("result", outcome.getOrThrow().path))
        } else {
            sendStatus(TEST_FAILED, testStatus().apply { putString("stack", failure.stackTraceToString()) })
            finish(Activity.RESULT_CANCELED, bundle("error", oneLine(failure)))
        }
    }

    private fun run(): File {
        val places = JobArguments.of(arguments.getString("root"), arguments.getString("job"))
        val cache = File(targetContext.cacheDir, CACHE)
        val runner = JobRunner(places.root, AndroidDeviceProbe(targetContext), cache)
        return runner.run(Job.read(places.job), resultsFolder(targetContext))
    }

    private fun testStatus(): Bundle = Bundle().apply {
        putString("id", "BenchInstrumentation")
        putString("class", BenchInstrumentation::class.java.name)
        putString("test", arguments.getString("job") ?: "job")
        putInt("numtests", 1)
        putInt("current", 1)
    }

    private fun bundle(key: String, value: String) = Bundle().apply { putString(key, value) }

    private companion object {
        /** Not the screen's folder: a job that builds a weight cache empties it first. */
        const val CACHE = "job-weights"

        /** What Android's own test runner reports with `INSTRUMENTATION_STATUS_CODE`. */
        const val TEST_STARTED = 1
        const val TEST_PASSED = 0
        const val TEST_FAILED = -2
    }
}
