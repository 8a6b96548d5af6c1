"""What `lstm-infer demo` needs: a guitar amplifier model (amp.onnx), a riff to play through it, and the show itself."""
