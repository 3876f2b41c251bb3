"""The evidence: trials, fronts and identities in SQLite."""
