"""Scripts that exports carry: they read `manifest.json` beside them and need nothing of autoprec."""
