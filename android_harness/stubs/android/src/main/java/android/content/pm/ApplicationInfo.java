package android.content.pm;

public class ApplicationInfo {
    /** A constant, as in the SDK. */
    public static final int FLAG_DEBUGGABLE = 2;
    public int flags;
}
