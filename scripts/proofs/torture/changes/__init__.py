"""How inputs are changed, each kind by its structure."""
