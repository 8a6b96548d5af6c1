"""Finds the real models and the exporters' files: beside the repository, or where two environment variables say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable, name):
    if variable in os.environ:
        return Path(os.environ[variable])
    return ROOT.parent / "shared" / name


EXPORTS = _folder("LSTM_INFER_EXPORTS", "exports")
MODELS = _folder("LSTM_INFER_MODELS", "models")


def missing(folder, variable):
    """Skip with the reason, or fail where the files are required."""
    message = f"{folder} is not there; set {variable}"
    if os.environ.get("LSTM_INFER_REQUIRE_FILES") == "1":
        pytest.fail(message)
    pytest.skip(message)


def export(name):
    """Path of an exporter's model."""
    path = EXPORTS / f"{name}.onnx"
    return path if path.exists() else missing(path, "LSTM_INFER_EXPORTS")


def model(name):
    """Path of a real model."""
    path = MODELS / f"{name}.onnx"
    return path if path.exists() else missing(path, "LSTM_INFER_MODELS")
