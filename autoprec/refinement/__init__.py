"""Quantisation-aware refinement of one point, by distillation; needs PyTorch (the extra `qat`)."""

from autoprec.refinement.distillation import distil

__all__ = ["distil"]
