"""Choosing a point, exporting it, and measuring an export again."""
