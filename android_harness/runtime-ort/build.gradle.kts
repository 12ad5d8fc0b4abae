// ai.onnxruntime has the same API on a JVM, where the tests run this module's sources.
plugins {
    alias(libs.plugins.android.library)
}

android {
    namespace = "dev.pocketvec.ort"
    compileSdk = 36
    defaultConfig {
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    api(project(":core"))
    implementation(libs.onnxruntime.android)
    testImplementation(libs.kotlinx.serialization.json)
    testImplementation(libs.junit)
}
