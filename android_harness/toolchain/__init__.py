"""What building and checking the Kotlin project without Android Studio needs, fetched into one folder."""
