"""Finds phones over adb, gives them jobs and makes their results one report."""
