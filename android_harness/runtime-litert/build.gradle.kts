// LiteRT through CompiledModel, the API that the host measures with as well.
plugins {
    alias(libs.plugins.android.library)
}

android {
    namespace = "dev.pocketvec.litert"
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
    implementation(libs.litert)
    testImplementation(libs.junit)
}
