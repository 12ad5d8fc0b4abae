"""Artifacts in the forms that reach an app of one's own: its assets, or a module for Google Play."""
