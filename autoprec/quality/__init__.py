"""How far masks are from the reference's: the metrics and their intervals."""
