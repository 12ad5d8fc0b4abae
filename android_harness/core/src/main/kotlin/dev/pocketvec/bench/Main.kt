package dev.pocketvec.bench

import dev.pocketvec.PocketvecException
import java.io.File
import kotlin.system.exitProcess

private const val BAD_INPUT = 2
private const val ARGUMENTS = 3

/** `java dev.pocketvec.bench.MainKt ROOT JOB RESULTS`: runs a job on a JVM; JOB is relative to ROOT. */
public fun main(arguments: Array<String>) {
    try {
        if (arguments.size != ARGUMENTS) throw PocketvecException("arguments: ROOT JOB RESULTS")
        val (root, job, results) = arguments
        val runner = JobRunner(File(root), HostProbe(), File(results, "weight-cache"))
        println(runner.run(Job.read(File(root, job)), File(results)))
    } catch (error: PocketvecException) {
        System.err.println("pocketvec: error: ${error.message}")
        exitProcess(BAD_INPUT)
    }
}
