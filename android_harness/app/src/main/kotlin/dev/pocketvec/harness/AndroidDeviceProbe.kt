package dev.pocketvec.harness

import android.app.ActivityManager
import android.content.Context
import android.content.pm.ApplicationInfo
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import android.system.Os
import android.system.OsConstants
import dev.pocketvec.bench.Device
import dev.pocketvec.bench.DeviceProbe
import dev.pocketvec.bench.Pss
import dev.pocketvec.bench.Thermal

/** The phone as Android's own interfaces tell of it. */
internal class AndroidDeviceProbe(private val context: Context) : DeviceProbe {
    override val cpu: String get() = soc() ?: Build.HARDWARE

    override val os: String get() = "Android ${Build.VERSION.RELEASE}"

    override val versions: Map<String, String>
        get() = mapOf("android" to Build.VERSION.RELEASE, "app" to appVersion())

    override fun pss(): Pss = appMemory()

    override fun thermal(moment: String): Thermal? {
        val power = service<PowerManager>()
        return Thermal(moment, thermalStatus(power), thermalHeadroom(power))
    }

    override fun device(thermal: List<Thermal>): Device {
        val battery = service<BatteryManager>()
        return Device(
            brand = Build.BRAND,
            model = Build.MODEL,
            device = Build.DEVICE,
            fingerprint = Build.FINGERPRINT,
            release = Build.VERSION.RELEASE,
            sdk = Build.VERSION.SDK_INT,
            abi = Build.SUPPORTED_ABIS.firstOrNull().orEmpty(),
            soc = soc(),
            cpuFeatures = cpuFeatures(),
            cpuMaxFreqKhz = coresMaxFreqKhz(),
            pageSizeBytes = Os.sysconf(OsConstants._SC_PAGESIZE),
            memTotalBytes = memTotalBytes(),
            batteryPercent = percent(battery),
            charging = battery.isCharging,
            affinity = listOfNotNull("the scheduler's choice", allowedCores()).joinToString(" of cores "),
            thermal = thermal,
        )
    }

    /** Phones without a gauge give the smallest number there is. */
    private fun percent(battery: BatteryManager): Int? =
        battery.getIntProperty(BatteryManager.BATTERY_PROPERTY_CAPACITY).takeIf { it in 0..100 }

    private fun soc(): String? {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.S) return null
        return "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
    }

    private fun thermalStatus(power: PowerManager): Int? =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) power.currentThermalStatus else null

    /** No number where the phone has no sensor for it, or was asked a moment ago. */
    private fun thermalHeadroom(power: PowerManager): Double? {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return null
        return power.getThermalHeadroom(FORECAST_SECONDS).toDouble().takeIf(Double::isFinite)
    }

    private fun memTotalBytes(): Long =
        ActivityManager.MemoryInfo().also { service<ActivityManager>().getMemoryInfo(it) }.totalMem

    /** Figures of a debuggable build are not those of an app that ships: a report has to show it. */
    private fun appVersion(): String {
        val version = context.packageManager.getPackageInfo(context.packageName, 0).versionName.orEmpty()
        val isDebuggable = context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0
        return if (isDebuggable) "$version, debuggable" else version
    }

    private inline fun <reified T> service(): T = context.getSystemService(T::class.java)

    private companion object {
        /** Now, not what the phone foresees. */
        const val FORECAST_SECONDS = 0
    }
}
