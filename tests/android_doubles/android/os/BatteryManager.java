package android.os;

public class BatteryManager {
    public static final int BATTERY_PROPERTY_CAPACITY = 4;

    public int getIntProperty(int id) { return id == BATTERY_PROPERTY_CAPACITY ? 87 : Integer.MIN_VALUE; }

    public boolean isCharging() { return true; }
}
