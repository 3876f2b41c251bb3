"""Models that come quantised: their pairs and levels are lifted off, and kept beside the float graph."""
