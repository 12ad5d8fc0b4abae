package android.content;

import java.io.File;

public abstract class Context {
    public final <T> T getSystemService(Class<T> serviceClass) { return null; }
    public File[] getExternalMediaDirs() { return null; }
    public File getCacheDir() { return null; }
    public String getPackageName() { return null; }
    public android.content.pm.PackageManager getPackageManager() { return null; }
    public android.content.pm.ApplicationInfo getApplicationInfo() { return null; }
    public final String getString(int resId) { return null; }
    public final String getString(int resId, Object... formatArgs) { return null; }
}
