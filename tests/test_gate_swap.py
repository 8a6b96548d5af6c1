"""`lstm-infer verify` must catch an engine that lies: one with two gates' weights swapped behind its back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import stream_models

lstm_infer = pytest.importorskip("lstm_infer")
cli = pytest.importorskip("lstm_infer.cli.command")
pytest.importorskip("lstm_infer.cli.verify")


def swap_gates(data, a=0, b=2):
    """The same model with the rows of two gates of W exchanged."""
    model = onnx.load_from_string(data)
    (init,) = (init for init in model.graph.initializer if init.name == "W")
    w = numpy_helper.to_array(init).copy()
    h = w.shape[1] // 4
    first, second = slice(a * h, a * h + h), slice(b * h, b * h + h)
    w[:, first], w[:, second] = w[:, second].copy(), w[:, first].copy()
    assert not np.array_equal(w, numpy_helper.to_array(init))
    init.CopyFrom(numpy_helper.from_array(w, "W"))
    return model.SerializeToString()


def verify(path):
    try:
        return cli.main(["verify", str(path)])
    except SystemExit as stop:
        return stop.code


def test_verify_catches_swapped_gates(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(stream_models.state_io())
    assert verify(path) in (0, None)

    honest = lstm_infer.load

    def lying(source, **options):
        return honest(swap_gates(path.read_bytes()), **options)

    monkeypatch.setattr(lstm_infer, "load", lying)
    assert verify(path) == 1
