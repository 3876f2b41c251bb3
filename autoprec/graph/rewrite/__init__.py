"""From an assignment to a typed ONNX model."""
