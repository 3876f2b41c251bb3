"""Choosing a point, shipping it, and measuring what was shipped again."""
