package android.system;

public final class Os {
    public static long sysconf(int name) { return name == OsConstants._SC_PAGESIZE ? 16384 : -1; }
}
