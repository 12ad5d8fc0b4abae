package android.system;

public final class OsConstants {
    private OsConstants() { }
    public static final int _SC_PAGESIZE = Integer.parseInt("0");
}
