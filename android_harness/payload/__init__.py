"""A program for a phone's adb shell that brings its own Python and runtimes, and measures as `bench` does."""
