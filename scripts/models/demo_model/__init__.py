"""The demo model: a small promptable mask model of EfficientViT-SAM's L shape, its data and its training."""
