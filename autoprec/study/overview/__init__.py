"""Studies from outside: listing them, planning a search, and deleting what was measured."""
