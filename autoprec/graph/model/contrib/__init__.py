"""Operators of ONNX Runtime alone, written in operators of ONNX."""
