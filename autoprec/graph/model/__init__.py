"""A model as it comes: read safely, brought up to one opset, its own Q/DQ pairs lifted off."""
