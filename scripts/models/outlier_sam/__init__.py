"""An EfficientViT-SAM L0 that plain INT8 ruins as it ruins the published ones, made in minutes."""
