"""What other tools write: in operators of ONNX where it can be, else refused by name."""
