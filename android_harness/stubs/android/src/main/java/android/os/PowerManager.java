package android.os;

public final class PowerManager {
    PowerManager() { }
    public int getCurrentThermalStatus() { return 0; }
    public float getThermalHeadroom(int forecastSeconds) { return 0; }
}
