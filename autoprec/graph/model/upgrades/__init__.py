"""Bringing a model up to one opset: ONNX's version converter, and what it gets wrong."""
