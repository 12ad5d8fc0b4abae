package android.app;

public class Activity extends android.view.ContextThemeWrapper {
    public static final int RESULT_OK = -1;
    public static final int RESULT_CANCELED = 0;
    protected void onCreate(android.os.Bundle savedInstanceState) { }
    protected void onStart() { }
    protected void onDestroy() { }
    public void setContentView(int layoutResID) { }
    public <T extends android.view.View> T findViewById(int id) { return null; }
    public Object getLastNonConfigurationInstance() { return null; }
    public Object onRetainNonConfigurationInstance() { return null; }
    public boolean isChangingConfigurations() { return false; }
}
