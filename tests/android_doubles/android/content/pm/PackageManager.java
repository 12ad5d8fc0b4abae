package android.content.pm;

public class PackageManager {
    public PackageInfo getPackageInfo(String packageName, int flags) { return new PackageInfo(); }
}
