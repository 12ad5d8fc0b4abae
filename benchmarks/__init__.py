"""Scripts that measure parts of the toolkit by themselves; not in the wheel."""
