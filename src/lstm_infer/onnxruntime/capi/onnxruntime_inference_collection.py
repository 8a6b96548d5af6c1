"""Where onnxruntime defines its classes: code that names them in its types imports them from here."""

from ...doors.onnxruntime import InferenceSession
from ...doors.ort_values import IOBinding, OrtValue

__all__ = ["IOBinding", "InferenceSession", "OrtValue"]
