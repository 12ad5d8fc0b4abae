package android.widget;

public abstract class AdapterView<T extends Adapter> extends android.view.ViewGroup {
    public AdapterView(android.content.Context context) { super(context); }
    public int getSelectedItemPosition() { return 0; }
    public abstract T getAdapter();
    public abstract void setAdapter(T adapter);
}
