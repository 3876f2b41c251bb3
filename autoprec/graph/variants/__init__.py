"""The cures: what a variant changes in a block before precisions are written."""
