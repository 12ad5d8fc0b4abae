package android.os;

public final class Debug {
    public static void getMemoryInfo(MemoryInfo memoryInfo) { }

    public static class MemoryInfo {
        public int getTotalPss() { return 120_000; }

        public int getTotalPrivateDirty() { return 80_000; }

        public int getTotalPrivateClean() { return 30_000; }
    }
}
