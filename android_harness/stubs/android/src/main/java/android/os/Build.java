package android.os;

public class Build {
    public static final String BRAND = text();
    public static final String MODEL = text();
    public static final String DEVICE = text();
    public static final String HARDWARE = text();
    public static final String FINGERPRINT = text();
    public static final String SOC_MANUFACTURER = text();
    public static final String SOC_MODEL = text();
    public static final String[] SUPPORTED_ABIS = { };

    public static class VERSION {
        public static final int SDK_INT = Integer.parseInt("0");
        public static final String RELEASE = text();
    }

    /** Constants, as in the SDK: the compiler puts their values into the code. */
    public static class VERSION_CODES {
        public static final int Q = 29;
        public static final int R = 30;
        public static final int S = 31;
    }

    private static String text() { return ""; }
}
