"""The names of onnxruntime's Python interface: `import lstm_infer.onnxruntime as ort` in place of `import onnxruntime as ort`.

docs/onnxruntime.md says what differs.
"""

from __future__ import annotations

from .. import __version__
from ..doors.onnxruntime import PROVIDER, InferenceSession, NodeArg, set_seed
from ..doors.ort_options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    ModelMetadata,
    RunOptions,
    SessionOptions,
    say_unused,
)
from ..doors.ort_values import IOBinding, OrtValue
from . import capi

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionIOBinding",
    "SessionOptions",
    "__version__",
    "capi",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "preload_dlls",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
]

SessionIOBinding = IOBinding


def get_available_providers() -> list[str]:
    """One name, for code that asks."""
    return [PROVIDER]


def get_all_providers() -> list[str]:
    """One name, for code that asks."""
    return [PROVIDER]


def get_device() -> str:
    """ "CPU"."""
    return "CPU"


def get_build_info() -> str:
    """Which package answers here."""
    return f"lstm_infer {__version__}"


def preload_dlls(*where: object, **more: object) -> None:
    """There are none to load."""


def set_global_thread_pool_sizes(intra_op_num_threads: int, inter_op_num_threads: int) -> None:
    """One thread runs a call; other numbers are named once in a warning."""
    if intra_op_num_threads > 1 or inter_op_num_threads > 1:
        say_unused(iter(["set_global_thread_pool_sizes"]))


def set_default_logger_severity(severity: int) -> None:
    """Nothing is logged."""


def set_default_logger_verbosity(verbosity: int) -> None:
    """Nothing is logged."""


def disable_telemetry_events() -> None:
    """There is none."""


def enable_telemetry_events() -> None:
    """There is none."""


def __getattr__(name: str) -> object:
    raise AttributeError(f"lstm_infer.onnxruntime has no {name!r}; docs/onnxruntime.md says what is there")
