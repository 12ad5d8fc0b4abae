// The harness: an instrumentation that runs jobs, and a screen on which a person tries an artifact.
plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "dev.pocketvec.harness"
    compileSdk = 36

    defaultConfig {
        applicationId = "dev.pocketvec.harness"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        ndk {
            abiFilters += "arm64-v8a"
            // For a look at the screen in an emulator: gradle assembleRelease -Ppocketvec.emulator
            if (providers.gradleProperty("pocketvec.emulator").isPresent) abiFilters += "x86_64"
        }
    }

    buildTypes {
        release {
            // ART runs a debuggable app differently, so measurements are taken with this build type; it is
            // signed with the debug key, because nothing of it is published.
            isMinifyEnabled = true
            isShrinkResources = true
            signingConfig = signingConfigs.getByName("debug")
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    androidResources {
        // Assets that are to be mapped must lie in the APK as they are.
        noCompress += listOf("onnx", "ort", "tflite", "data", "bin")
    }

    packaging {
        jniLibs {
            // Libraries stay in the APK, uncompressed and aligned to 16 KB, and are mapped from there.
            useLegacyPackaging = false
        }
    }
}

dependencies {
    implementation(project(":core"))
    implementation(project(":runtime-ort"))
    implementation(project(":runtime-litert"))
}
