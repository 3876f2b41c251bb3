"""Reading ONNX models, grouping nodes into blocks, rewriting a candidate."""
