package dev.pocketvec.harness

import android.app.Application
import android.content.Context
import android.system.Os

/** Switches onnxruntime's usage reports off before anything can load the library. */
internal class HarnessApplication : Application() {
    /** Comes before instrumentation and activities; the library reads its environment when it is loaded. */
    override fun attachBaseContext(base: Context?) {
        Os.setenv("ORT_DISABLE_TELEMETRY", "1", true)
        super.attachBaseContext(base)
    }
}
