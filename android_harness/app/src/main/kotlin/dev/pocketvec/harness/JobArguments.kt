package dev.pocketvec.harness

import dev.pocketvec.PocketvecException
import java.io.File

/** Where a job lies, as the instrumentation's arguments say. */
internal class JobArguments private constructor(val root: File, val job: File) {
    companion object {
        /** @throws PocketvecException for an argument that is missing, or that names nothing this app can read. */
        fun of(root: String?, job: String?): JobArguments {
            val folder = File(root ?: throw PocketvecException("argument root: missing, give -e root FOLDER"))
            val file = File(folder, job ?: throw PocketvecException("argument job: missing, give -e job jobs/ID.json"))
            if (!file.isFile || !file.canRead()) {
                throw PocketvecException("$file: no such file, or not readable for the app (adb shell chmod -R a+rX)")
            }
            return JobArguments(folder, file)
        }
    }
}
