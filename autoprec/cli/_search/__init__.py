"""The options of `search`, and how it reports its progress."""
