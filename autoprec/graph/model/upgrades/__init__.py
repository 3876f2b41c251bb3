"""Bringing a model up to one opset, by ONNX's version converter and what it gets wrong, and to FP32."""
