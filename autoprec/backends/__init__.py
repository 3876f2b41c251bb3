"""Engines: one file (or folder) per runtime, and the one stopwatch."""
