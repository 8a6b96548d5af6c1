"""Timings beside onnxruntime; see README.md."""
