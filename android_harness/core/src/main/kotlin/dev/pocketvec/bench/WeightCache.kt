package dev.pocketvec.bench

import dev.pocketvec.PocketvecException
import java.io.File

/** The folder that a runtime keeps packed weights in, in the state that a job asks for. */
internal class WeightCache(cache: File, state: String, weightsSha256: String) {
    /** Null for a job without a cache. */
    val folder: File? = File(cache, weightsSha256).takeIf { state != Job.NO_CACHE }

    init {
        if (state == Job.BUILD_CACHE && cache.isDirectory && !cache.deleteRecursively()) {
            throw PocketvecException("$cache: cannot be emptied for a new weight cache")
        }
        if (state == Job.WARM_CACHE && bytes() == 0L) {
            throw PocketvecException("$folder: no weight cache; a job with state ${Job.BUILD_CACHE} makes it")
        }
        folder?.mkdirs()
    }

    /** Its size now. */
    fun bytes(): Long = folder?.walk()?.filter(File::isFile)?.sumOf(File::length) ?: 0L
}
