package dev.pocketvec.ort

import dev.pocketvec.PocketvecException

/**
 * onnxruntime's official builds from 1.29 on report use to their maker, unless this variable is in the
 * environment when the library is loaded (docs/Privacy.md in its repository). Switching it off later, through
 * the API, comes after the first report.
 */
private const val VARIABLE = "ORT_DISABLE_TELEMETRY"
private const val OFF = "1"

/**
 * Sees to it that nothing is reported. To be called before the library is loaded.
 *
 * On Android it sets the variable itself, by reflection, since this module is compiled for JVMs as well. A
 * JVM cannot change its environment: there whoever starts it has to set the variable.
 *
 * @throws PocketvecException where it is not set in the end.
 */
internal fun switchTelemetryOff() {
    if (System.getenv(VARIABLE) == OFF) return
    try {
        Class.forName("android.system.Os")
            .getMethod("setenv", String::class.java, String::class.java, Boolean::class.javaPrimitiveType)
            .invoke(null, VARIABLE, OFF, true)
    } catch (error: ReflectiveOperationException) {
        throw PocketvecException("$VARIABLE is not set: start this process with $VARIABLE=$OFF", error)
    }
}
