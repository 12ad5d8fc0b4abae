package android.app;

import android.os.Bundle;

public class Instrumentation {
    public void onCreate(Bundle arguments) { }
    public void start() { }
    public void onStart() { }
    public void sendStatus(int resultCode, Bundle results) { }
    public void finish(int resultCode, Bundle results) { }
    public android.content.Context getTargetContext() { return null; }
}
