"""The names of onnxruntime's errors, for code that catches them: each is the error of this package that stands for it."""

from ...errors import LstmInferError, MissingFileError, OnnxImportError, UnsupportedOpError

__all__ = [
    "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "ModelLoaded", "NoModel", "NoSuchFile",
    "NotImplemented", "RuntimeException",
]  # fmt: skip

Fail = InvalidArgument = RuntimeException = EngineError = EPFail = ModelLoaded = NoModel = LstmInferError
NoSuchFile = MissingFileError
InvalidGraph = InvalidProtobuf = OnnxImportError
NotImplemented = UnsupportedOpError
