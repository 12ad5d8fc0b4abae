package android.os;

public final class Debug {
    private Debug() { }
    public static void getMemoryInfo(MemoryInfo memoryInfo) { }

    public static class MemoryInfo {
        public MemoryInfo() { }
        public int getTotalPss() { return 0; }
        public int getTotalPrivateDirty() { return 0; }
        public int getTotalPrivateClean() { return 0; }
    }
}
