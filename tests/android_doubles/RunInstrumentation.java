import android.app.Instrumentation;
import android.content.PhoneContext;
import android.os.Bundle;
import java.io.File;

/** Stands in for `am instrument -w`: CLASS FOLDER [KEY VALUE]... prints what that prints. */
public final class RunInstrumentation {
    public static void main(String[] words) throws Exception {
        Bundle arguments = new Bundle();
        for (int at = 2; at + 1 < words.length; at += 2) arguments.putString(words[at], words[at + 1]);
        Instrumentation run = (Instrumentation) Class.forName(words[0]).getConstructor().newInstance();
        run.target = new PhoneContext(new File(words[1]));
        run.onCreate(arguments);
        run.finished.await();
    }
}
