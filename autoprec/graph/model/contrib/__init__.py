"""Operators of other tools: replaced by operators of ONNX where possible, else refused by name."""
