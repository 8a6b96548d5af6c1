"""The engine as an ONNX backend: `import lstm_infer.onnx_backend as backend`."""

from .doors.onnx_backend import *  # noqa: F403
from .doors.onnx_backend import __all__ as __all__
