package dev.pocketvec

import java.util.ServiceLoader

/** Finds the runtime modules that an app was built with. */
public object Runtimes {
    /** Those on the class path, by the manifest's `runtime`. */
    @JvmStatic
    public fun all(): Map<String, RuntimeFactory> =
        // not the thread's class loader: instrumentation's knows nothing of the app
        ServiceLoader.load(RuntimeFactory::class.java, RuntimeFactory::class.java.classLoader)
            .associateBy(RuntimeFactory::runtime)

    /**
     * The one that a manifest asks for.
     *
     * @throws PocketvecException naming those that there are.
     */
    @JvmStatic
    public fun find(runtime: String): RuntimeFactory {
        val all = all()
        return all[runtime] ?: throw PocketvecException(
            "runtime '$runtime': no module for it on the class path; there are: " +
                all.keys.sorted().joinToString().ifEmpty { "none" },
        )
    }
}
