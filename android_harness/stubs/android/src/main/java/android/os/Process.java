package android.os;

public class Process {
    /** A constant, as in the SDK. */
    public static final int THREAD_PRIORITY_DEFAULT = 0;
    public static final void setThreadPriority(int priority) { }
}
