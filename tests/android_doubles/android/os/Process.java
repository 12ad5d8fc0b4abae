package android.os;

public class Process {
    public static final int THREAD_PRIORITY_DEFAULT = 0;

    public static void setThreadPriority(int priority) {
        System.out.println(Thread.currentThread().getName() + " has priority " + priority);
    }
}
