"""`import tensorrt`, where this folder is on the path: TensorRT-RTX behind the mask of $MASKED_TENSORRT."""

import importlib
import os
import sys

sys.modules[__name__] = importlib.import_module("masking").masked(os.environ["MASKED_TENSORRT"])
