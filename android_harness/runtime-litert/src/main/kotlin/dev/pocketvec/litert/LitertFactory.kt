package dev.pocketvec.litert

import com.google.ai.edge.litert.CompiledModel
import dev.pocketvec.Artifact
import dev.pocketvec.EmbeddingRuntime
import dev.pocketvec.PocketvecException
import dev.pocketvec.RuntimeFactory
import dev.pocketvec.RuntimeOptions

/** Opens `litert` artifacts with LiteRT's CompiledModel on the CPU, as they were measured. */
public class LitertFactory : RuntimeFactory {
    override val runtime: String = "litert"

    /** Initialising LiteRT's class loads its library. */
    override fun load() {
        try {
            Class.forName(CompiledModel::class.java.name)
        } catch (error: LinkageError) {
            throw PocketvecException("no LiteRT library for ${System.getProperty("os.arch")} here", error)
        }
    }

    override fun open(artifact: Artifact, options: RuntimeOptions): EmbeddingRuntime {
        load()
        val cache = options.weightCache?.let { folder ->
            WeightCacheFile(folder, "${artifact.weightsSha256} $LITERT_VERSION ${processorFeatures()}")
        }
        return LitertRuntime.open(artifact, options.threads, cache)
    }
}

/** LiteRT does not tell its version at run time; a test holds this to gradle/libs.versions.toml. */
internal const val LITERT_VERSION: String = "2.3.0"
