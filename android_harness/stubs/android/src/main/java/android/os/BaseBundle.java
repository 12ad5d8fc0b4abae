package android.os;

public class BaseBundle {
    BaseBundle() { }
    public String getString(String key) { return null; }
    public void putString(String key, String value) { }
    public void putInt(String key, int value) { }
}
