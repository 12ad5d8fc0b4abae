// The Kotlin side of pocketvec. Every version is in gradle/libs.versions.toml; modules declare no repository.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "pocketvec-android"
include(":core", ":runtime-ort", ":runtime-litert", ":app")
