package android.content.pm;

public class PackageInfo {
    /** Nullable since API 35's stubs. */
    public String versionName;
}
