"""Studies from outside: which there are, what a search would do, and removing what was measured."""
