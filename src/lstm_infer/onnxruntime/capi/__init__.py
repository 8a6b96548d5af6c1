"""Where onnxruntime keeps its errors, and its classes for those who name them by their module."""

from . import onnxruntime_inference_collection, onnxruntime_pybind11_state

__all__ = ["onnxruntime_inference_collection", "onnxruntime_pybind11_state"]
