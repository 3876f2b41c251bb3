"""Strategies: which assignment to try next."""
