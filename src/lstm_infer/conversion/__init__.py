"""Other forms of a loaded model: a file that is mapped, an ONNX file of one step, C."""
