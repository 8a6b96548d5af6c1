"""Weights that are no numbers, or infinite: each form gives what the source gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import ConvertError
from lstm_infer.conversion.stateful import form

F, H = 3, 4


def net(op: str, weights: str, value: float) -> onnx.ModelProto:
    """y = op(x), one of whose weights has this value."""
    rng, gates = np.random.default_rng(8), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    tensors = {
        "W": rng.normal(size=(1, gates * H, F)),
        "R": rng.normal(size=(1, gates * H, H)),
        "B": rng.normal(size=(1, 2 * gates * H)),
    }
    tensors[weights].reshape(-1)[1] = value
    node, info = helper.make_node, helper.make_tensor_value_info
    attrs = {"activations": ["Relu"]} if op == "RNN" else {}
    nodes = [node(op, ["x", "W", "R", "B"], ["Y"], hidden_size=H, **attrs), node("Squeeze", ["Y", "one"], ["y"])]
    held = {name: array.astype(np.float32) for name, array in tensors.items()} | {"one": np.array([1])}
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["T", 1, F])], [info("y", TensorProto.FLOAT, ["T", 1, H])],
        [numpy_helper.from_array(v, k) for k, v in held.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("op,weights", [("LSTM", "R"), ("GRU", "B"), ("RNN", "W")])
def test_each_form_gives_what_the_source_gives(op: str, weights: str, value: float, tmp_path: Path) -> None:
    """onnxruntime's LSTM and GRU take a NaN between their gates for a number: where the source has none, that is no fault."""
    source = net(op, weights, value)
    for name in ("m.lsi", "step.onnx"):
        assert lstm_infer.convert(source, tmp_path / name).ok
    if op == "LSTM" and np.isnan(value):
        assert lstm_infer.convert(source, tmp_path / "c", to="c").ok


def test_no_number_in_place_of_one_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = form.drive

    def driven(file: object, live: object) -> tuple[object, object]:
        got, last = drive(file, live)
        return got, {name: value * np.float32(np.nan) for name, value in last.items()}

    monkeypatch.setattr(form, "drive", driven)
    with pytest.raises(ConvertError, match="not what the source gives"):
        lstm_infer.convert(net("LSTM", "R", 0.5), tmp_path / "step.onnx")
