package dev.pocketvec.harness

import dev.pocketvec.PocketvecException
import java.io.File

/** Where a job lies, as the instrumentation's arguments say. */
internal class JobArguments private constructor(val root: File, val job: File) {
    companion object {
        /** @throws PocketvecException for an argument that is missing, or names nothing this app can read. */
        fun of(root: String?, job: String?): JobArguments {
            if (root == null) throw PocketvecException("argument root: missing, give -e root FOLDER")
            if (job == null) throw PocketvecException("argument job: missing, give -e job jobs/ID.json")
            val file = File(root, job)
            if (file.isFile && file.canRead()) return JobArguments(File(root), file)
            throw PocketvecException("$file: no such file, or the app may not read it: chmod -R a+rX $root")
        }
    }
}
