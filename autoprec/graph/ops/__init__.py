"""What single nodes are: their matrices, costs, types, and which of their inputs take Q/DQ."""
