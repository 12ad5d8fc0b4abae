"""The same measurements on a phone: the Kotlin project, the adb driver, and what both agree on."""
