"""`import tensorrt`, where this folder is on the path: TensorRT-RTX behind the mask of $MASKED_TENSORRT."""

import importlib
import os
import sys

module = importlib.import_module("masking").masked(os.environ["MASKED_TENSORRT"])
module.__spec__ = __spec__
sys.modules[__name__] = module
