package android.os;

public class PowerManager {
    public int getCurrentThermalStatus() { return since(29, 1); }

    public float getThermalHeadroom(int forecastSeconds) { return since(30, Float.NaN); }

    private static <T> T since(int level, T value) {
        if (Build.VERSION.SDK_INT >= level) return value;
        throw new NoSuchMethodError("came with API " + level);
    }
}
