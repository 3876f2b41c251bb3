"""Grouping nodes into blocks, by scope or by structure."""
