package android.os;

public class BatteryManager {
    public static final int BATTERY_PROPERTY_CAPACITY = Integer.parseInt("4");
    BatteryManager() { }
    public int getIntProperty(int id) { return 0; }
    public boolean isCharging() { return false; }
}
