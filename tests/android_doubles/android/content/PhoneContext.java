package android.content;

import java.io.File;

/** An app's folders below one of the test's; without a folder `media` its shared storage is not mounted. */
public final class PhoneContext extends Context {
    private final File folder;

    public PhoneContext(File folder) { this.folder = folder; }

    @Override public File[] getExternalMediaDirs() {
        File media = new File(folder, "media");
        return new File[] {media.isDirectory() ? media : null};
    }

    @Override public File getCacheDir() { return new File(folder, "cache"); }
}
