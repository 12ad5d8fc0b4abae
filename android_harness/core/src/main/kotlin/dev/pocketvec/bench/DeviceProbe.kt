package dev.pocketvec.bench

/** What a process can find out about its machine: [HostProbe] on a JVM, the app's own on Android. */
public interface DeviceProbe {
    /** The processor's name. */
    public val cpu: String

    /** The system's name and version. */
    public val os: String

    /** Versions of what is not the runtime's own: of the system, of the app. By name. */
    public val versions: Map<String, String>

    /** Called before the job; whatever keeps the processor's cores equal for its length begins here. */
    public fun prepare() {}

    /** How hot it is now; null where nothing tells. */
    public fun thermal(moment: String): Thermal?

    /** Proportional set size of this process now; null where nothing tells. */
    public fun pss(): Pss?

    /** The phone, with what [thermal] gave at each moment of the job; null for what is none. */
    public fun device(thermal: List<Thermal>): Device?
}
