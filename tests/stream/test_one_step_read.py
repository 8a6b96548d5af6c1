"""A file that reads one step of an open axis, as Keras's exporter writes it through torch, says so where it is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper as h
from onnx import numpy_helper as nh

import lstm_infer


def model(nodes, constants, shape=("B", "T", 5), out=("B", 1, 4)):
    """A model of x [B, T, 5] whose last node gives y."""
    graph = h.make_graph(
        nodes,
        "one",
        [h.make_tensor_value_info("x", 1, shape)],
        [h.make_tensor_value_info("y", 1, out)],
        [nh.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def cell(picked):
    """A cell unrolled over one step: it begins at zero, which is folded away."""
    return [
        *picked,
        h.make_node("MatMul", ["step", "w"], ["z"]),
        h.make_node("Tanh", ["z"], ["hidden"]),
        h.make_node("Unsqueeze", ["hidden", "one"], ["y"]),
    ]


W = {"w": np.ones((5, 4), np.float32), "one": np.array([1]), "first": np.array(0)}


def refused(source):
    with pytest.raises(lstm_infer.NotStreamableError) as error:
        lstm_infer.load(source).stream()
    return str(error.value)


def test_one_step_is_read():
    said = refused(model(cell([h.make_node("Gather", ["x", "first"], ["step"], "pick", axis=1)]), W))
    assert "Of axis 1 of 'x' the file reads one step only, at node 'pick'" in said and "from_keras" in said


def test_one_step_is_read_that_stays_an_axis():
    nodes = [
        h.make_node("Gather", ["x", "one"], ["step"], "pick", axis=1),
        h.make_node("MatMul", ["step", "w"], ["z"]),
        h.make_node("Tanh", ["z"], ["y"]),
    ]
    assert "Of axis 1 of 'x' the file reads one step only, at node 'pick'" in refused(model(nodes, W))


def test_all_steps_are_read():
    said = refused(model(cell([h.make_node("ReduceMean", ["x"], ["step"], axes=[1], keepdims=0)]), W))
    assert "one step only" not in said


def test_one_step_and_all_are_read():
    picked = [
        h.make_node("Gather", ["x", "first"], ["a"], axis=1),
        h.make_node("ReduceMax", ["x"], ["b"], axes=[1], keepdims=0),
        h.make_node("Add", ["a", "b"], ["step"]),
    ]
    assert "one step only" not in refused(model(cell(picked), W))


def test_a_fixed_axis_is_no_time():
    said = refused(model(cell([h.make_node("Gather", ["x", "first"], ["step"], axis=1)]), W, shape=("B", 3, 5)))
    assert "one step only" not in said


def test_what_keras_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="needs Keras")
    pytest.importorskip("onnxscript", reason="Keras exports through it")
    if keras.backend.backend() != "torch":
        pytest.skip("of the torch backend")
    net = keras.Sequential([keras.Input((None, 5)), keras.layers.GRU(4, return_sequences=True)])
    net(np.zeros((1, 3, 5), np.float32))
    net.export(str(tmp_path / "k.onnx"), format="onnx", verbose=False)
    model = lstm_infer.load(tmp_path / "k.onnx")
    x = np.random.default_rng(0).normal(size=(1, 6, 5)).astype(np.float32)
    (y,) = model.run({model.inputs[0].name: x}).values()
    if y.shape[1] == 6:
        pytest.skip("this Keras exports the sequence")
    assert "one step only" in refused(tmp_path / "k.onnx")
    assert lstm_infer.from_keras(net).stream().run(x).shape == (1, 6, 4)
