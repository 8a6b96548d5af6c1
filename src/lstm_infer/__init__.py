"""lstm_infer: give a recurrent ONNX model a memory.

::

    import lstm_infer

    model = lstm_infer.load("model.onnx")  # LSTM, GRU or RNN, and the net around it
    print(model.summary())  # what it takes, gives and carries
    stream = model.stream()  # one live signal: the state stays inside
    y = stream.step(frame)  # a time step
    ys = stream.run(frames)  # a chunk of any length, the same bits

`help(lstm_infer.load)`, `help(lstm_infer.Model)` and `help(lstm_infer.Stream)` say the rest; `lstm-infer inspect model.onnx` prints
lines like these for a file. `lstm_infer.onnxruntime` has the names of onnxruntime, `lstm_infer.typing` types for annotations.

All of it is imported when it is first asked for, NumPy too.
"""

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this

__version__ = "0.2.0"

__all__ = [
    "ArgumentError",
    "BudgetError",
    "ConvertError",
    "DtypeError",
    "FeedError",
    "FormatError",
    "InferenceSession",
    "InputInfo",
    "IsaError",
    "LayerInfo",
    "LstmInferError",
    "MissingFileError",
    "Model",
    "NotStreamableError",
    "OnnxImportError",
    "OpenSizeError",
    "OutputInfo",
    "PoolStats",
    "PrecisionReport",
    "QueueFullError",
    "Report",
    "ShapeError",
    "StateError",
    "StateInfo",
    "Stream",
    "StreamInfo",
    "StreamPool",
    "UnsupportedOpError",
    "__version__",
    "compare_precision",
    "convert",
    "from_keras",
    "from_torch",
    "load",
    "show_isa",
]

if TYPE_CHECKING:
    from .comparison.compare import compare_precision
    from .comparison.records import PrecisionReport
    from .conversion.convert import convert
    from .conversion.report import Report
    from .doors.from_keras import from_keras
    from .doors.from_torch import from_torch
    from .doors.onnxruntime import InferenceSession
    from .errors import (
        ArgumentError,
        BudgetError,
        ConvertError,
        DtypeError,
        FeedError,
        FormatError,
        IsaError,
        LstmInferError,
        MissingFileError,
        NotStreamableError,
        OnnxImportError,
        OpenSizeError,
        QueueFullError,
        ShapeError,
        StateError,
        UnsupportedOpError,
    )
    from .isa import show_isa
    from .model import Model, load
    from .pool import StreamPool
    from .records import InputInfo, LayerInfo, OutputInfo, PoolStats, StateInfo, StreamInfo
    from .stream import Stream
else:  # a type checker that saw this would believe in every name
    _HOMES = {
        "compare_precision": "comparison.compare",
        "PrecisionReport": "comparison.records",
        "convert": "conversion.convert",
        "Report": "conversion.report",
        "from_keras": "doors.from_keras",
        "from_torch": "doors.from_torch",
        "InferenceSession": "doors.onnxruntime",
        "show_isa": "isa",
        **{name: "errors" for name in __all__ if name.endswith("Error")},
        **dict.fromkeys(("Model", "load"), "model"),
        **dict.fromkeys(("InputInfo", "LayerInfo", "OutputInfo", "PoolStats", "StateInfo", "StreamInfo"), "records"),
        "Stream": "stream",
        "StreamPool": "pool",
    }

    _MODULES = ("errors", "onnx_backend", "onnxruntime", "typing")

    def __getattr__(name):
        """A public name, from the module that makes it; kept from then on."""
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            from .misnamed import of_package

            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{of_package(__name__, __all__, name)}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value

    def __dir__():
        own = (name for name in globals() if name.startswith("__"))
        return sorted({*own, *__all__, *_MODULES})
