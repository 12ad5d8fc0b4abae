package android.view;

public class View {
    public static final int VISIBLE = 0;
    public static final int INVISIBLE = 4;
    public View(android.content.Context context) { }
    public void setVisibility(int visibility) { }
    public int getVisibility() { return 0; }
    public void setEnabled(boolean enabled) { }
    public boolean isEnabled() { return false; }
    public void setOnClickListener(OnClickListener l) { }

    public interface OnClickListener {
        void onClick(View v);
    }
}
