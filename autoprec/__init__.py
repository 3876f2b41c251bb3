"""autoprec finds, overnight, the precision of every block of an ONNX mask model."""
