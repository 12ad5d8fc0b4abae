package android.app;

public class ActivityManager {
    public void getMemoryInfo(MemoryInfo outInfo) { outInfo.totalMem = 8_000_000_000L; }

    public static class MemoryInfo {
        public long totalMem;
    }
}
