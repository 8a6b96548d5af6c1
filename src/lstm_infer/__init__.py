"""lstm_infer: give a recurrent ONNX model a memory."""

from .doors.onnxruntime import InferenceSession
from .errors import (
    DtypeError,
    FeedError,
    FormatError,
    IsaError,
    LstmInferError,
    NotStreamableError,
    OnnxImportError,
    ShapeError,
    StateError,
    UnsupportedOpError,
)
from .isa import show_isa
from .model import Model, load
from .records import InputInfo, OutputInfo, StateInfo, StreamInfo
from .stream import Stream

__version__ = "0.1.0"

__all__ = [
    "DtypeError",
    "FeedError",
    "FormatError",
    "InferenceSession",
    "InputInfo",
    "IsaError",
    "LstmInferError",
    "Model",
    "NotStreamableError",
    "OnnxImportError",
    "OutputInfo",
    "ShapeError",
    "StateError",
    "StateInfo",
    "Stream",
    "StreamInfo",
    "UnsupportedOpError",
    "__version__",
    "load",
    "show_isa",
]
