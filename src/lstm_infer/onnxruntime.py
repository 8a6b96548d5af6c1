"""The names of onnxruntime's Python interface: `import lstm_infer.onnxruntime as ort` in place of `import onnxruntime as ort`.

docs/onnxruntime.md says what differs.
"""

from __future__ import annotations

from . import __version__
from .doors.onnxruntime import PROVIDER, InferenceSession, NodeArg, set_seed
from .doors.ort_options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    ModelMetadata,
    RunOptions,
    SessionOptions,
)
from .doors.ort_values import IOBinding, OrtValue

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
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
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


def set_default_logger_severity(severity: int) -> None:
    """Nothing is logged."""


def set_default_logger_verbosity(verbosity: int) -> None:
    """Nothing is logged."""


def disable_telemetry_events() -> None:
    """There is none."""


def enable_telemetry_events() -> None:
    """There is none."""
