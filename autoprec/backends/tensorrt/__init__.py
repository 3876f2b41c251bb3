"""TensorRT 10, TensorRT 11 and TensorRT-RTX: engines built from typed ONNX files, run and audited.

One adapter for all: what an installed version can do is probed by attribute. TensorRT-RTX builds without a
GPU, so a machine without one still checks candidates.
"""

from autoprec.backends.tensorrt.backend import TensorRTBackend

__all__ = ["TensorRTBackend"]
