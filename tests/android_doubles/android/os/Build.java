package android.os;

/** The version comes from the system property `sdk`. Members that are newer are there nonetheless. */
public class Build {
    public static final String BRAND = "brand";
    public static final String MODEL = "model";
    public static final String DEVICE = "device";
    public static final String HARDWARE = "hardware";
    public static final String FINGERPRINT = "brand/device/fingerprint";
    public static final String SOC_MANUFACTURER = VERSION.SDK_INT >= 31 ? "maker" : unknown("SOC_MANUFACTURER");
    public static final String SOC_MODEL = VERSION.SDK_INT >= 31 ? "chip" : unknown("SOC_MODEL");
    public static final String[] SUPPORTED_ABIS = {"arm64-v8a", "armeabi-v7a"};

    public static class VERSION {
        public static final int SDK_INT = Integer.getInteger("sdk");
        public static final String RELEASE = "16";
    }

    private static String unknown(String name) { return name + " must not be read"; }
}
