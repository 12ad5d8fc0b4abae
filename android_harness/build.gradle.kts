// Plugins are put on the class path here, once, so that Android modules compile with this Kotlin as well:
// AGP 9 brings its own Kotlin plugin, and Gradle takes the newer of the two.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
