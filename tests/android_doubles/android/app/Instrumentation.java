package android.app;

import android.content.Context;
import android.os.Bundle;
import java.util.concurrent.CountDownLatch;

public class Instrumentation {
    public final CountDownLatch finished = new CountDownLatch(1);
    public Context target;

    public void onCreate(Bundle arguments) { }

    public void start() { new Thread(this::onStart, "Instr").start(); }

    public void onStart() { }

    public void sendStatus(int resultCode, Bundle results) {
        results.print("INSTRUMENTATION_STATUS: ");
        System.out.println("INSTRUMENTATION_STATUS_CODE: " + resultCode);
    }

    public void finish(int resultCode, Bundle results) {
        results.print("INSTRUMENTATION_RESULT: ");
        System.out.println("INSTRUMENTATION_CODE: " + resultCode);
        finished.countDown();
    }

    public Context getTargetContext() { return target; }
}
