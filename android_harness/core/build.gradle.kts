// Plain Kotlin: no android import may get in here, so that all of it runs on any JVM.
plugins {
    alias(libs.plugins.kotlin.jvm)
}

// Java 8, and its library alone: about what Android 8.0 has. Against a newer JDK's the compiler would choose
// methods that old phones lack, such as ByteBuffer.position with a return type of its own.
java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
}

kotlin {
    explicitApi()
    compilerOptions {
        jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_1_8
        freeCompilerArgs.add("-Xjdk-release=1.8")
    }
}

dependencies {
    implementation(libs.kotlinx.serialization.json)
    testImplementation(libs.junit)
}
