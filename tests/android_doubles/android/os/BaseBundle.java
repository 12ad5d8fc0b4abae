package android.os;

import java.util.Map;
import java.util.TreeMap;

public class BaseBundle {
    private final Map<String, Object> values = new TreeMap<>();

    public String getString(String key) { return (String) values.get(key); }

    public void putString(String key, String value) { values.put(key, value); }

    public void putInt(String key, int value) { values.put(key, value); }

    public void print(String mark) {
        values.forEach((key, value) -> System.out.println(mark + key + "=" + value));
    }
}
