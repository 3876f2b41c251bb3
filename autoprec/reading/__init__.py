"""The reading rule: from an image file and its prompts to what the model and its decoder are fed.

An export ships this folder as it is, for `predict.py` to read by where autoprec is not installed. So a file
here imports its neighbours relatively, and beside them NumPy and Pillow alone; imagecodecs and tifffile come
in with the first file that needs them.
"""

from __future__ import annotations

from . import arrays, beside, errors, frame, normalising, pixels, placing, prompts

__all__ = ["arrays", "beside", "errors", "frame", "normalising", "pixels", "placing", "prompts"]
