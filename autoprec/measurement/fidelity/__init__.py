"""Whether what ran is what the file says: a step against the given model, an engine against exact runs."""
