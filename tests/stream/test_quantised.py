"""Files quantised with dynamic scales: their stream is one step at a time, however it is fed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import StateError
from sums_of_bytes import exact


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """DynamicQuantizeLSTM, then a dynamically quantised linear layer."""
    rng = np.random.default_rng(0)
    I, H, M = 6, 9, 4
    ints = {
        "W": rng.integers(-128, 128, (1, I, 4 * H), np.int8), "R": rng.integers(-128, 128, (1, H, 4 * H), np.int8),
        "V": rng.integers(-128, 128, (H, M), np.int8), "vz": np.array(0, np.int8),
        "zero": np.zeros(1, np.int8), "none": np.zeros(1, np.int8),
    }  # fmt: skip
    floats = {
        "ws": np.array([0.003]),
        "rs": np.array([0.004]),
        "vs": np.array(0.01),
        "B": rng.standard_normal((1, 8 * H)),
    }
    inits = [numpy_helper.from_array(a, n) for n, a in ints.items()]
    inits += [numpy_helper.from_array(a.astype(np.float32), n) for n, a in floats.items()]
    inits.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    nodes = [
        helper.make_node("DynamicQuantizeLSTM", ["x", "W", "R", "B", "", "", "", "", "ws", "zero", "rs", "none"],
                         ["y", "hn", "cn"], name="lstm", domain="com.microsoft", hidden_size=H),
        helper.make_node("Squeeze", ["y", "one"], ["s"], name="squeeze"),
        helper.make_node("DynamicQuantizeLinear", ["s"], ["q", "qs", "qz"], name="quantise"),
        helper.make_node("MatMulInteger", ["q", "V", "qz", "vz"], ["m"], name="product"),
        helper.make_node("Cast", ["m"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["qs", "vs"], ["k"], name="scales"),
        helper.make_node("Mul", ["f", "k"], ["out"], name="scaled"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [_value("x", ["T", "B", I])], [_value("out", ["T", "B", M]), _value("hn", [1, "B", H])], inits
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _by_steps(made: onnx.ModelProto, x: Any) -> tuple[Any, Any]:
    """onnxruntime, one step and one signal at a time, the states fed by hand."""
    if x.shape[1] > 1:
        parts = [_by_steps(made, x[:, i : i + 1]) for i in range(x.shape[1])]
        return tuple(np.concatenate(of, 1) for of in zip(*parts, strict=True))
    fed = onnx.ModelProto()
    fed.CopyFrom(made)
    fed.graph.node[0].input[5:7] = ["h", "c"]
    fed.graph.input.extend([_value("h", [1, "B", 9]), _value("c", [1, "B", 9])])
    fed.graph.output.extend([_value("cn", [1, "B", 9])])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = exact(fed.SerializeToString(), options)
    h = c = np.zeros((1, x.shape[1], 9), np.float32)
    outs = []
    for t in range(len(x)):
        out, h, c = session.run(None, {"x": x[t : t + 1], "h": h, "c": c})
        outs.append(out)
    return np.concatenate(outs), h


@pytest.mark.parametrize("batch", [1, 3])
def test_stream_is_one_step_at_a_time(model: onnx.ModelProto, batch: int) -> None:
    x = np.random.default_rng(1).standard_normal((23, batch, 6)).astype(np.float32)
    want, last = _by_steps(model, x)
    loaded = lstm_infer.load(model)
    assert "its own range" in loaded.summary()
    stream = loaded.stream(batch=batch)
    whole = stream.run(x)
    np.testing.assert_allclose(whole["out"], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole["hn"], last, rtol=1e-4, atol=1e-5)
    other = loaded.stream(batch=batch)
    pieces = [other.run(x[a:b])["out"] for a, b in ((0, 1), (1, 6), (6, 23))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole["out"])
    for i in range(batch):  # nobody else's signal
        np.testing.assert_array_equal(loaded.stream().run(x[:, i : i + 1])["out"], whole["out"][:, i : i + 1])


@pytest.mark.parametrize("T", [2, 300, 3000])
def test_a_whole_sequence_is_one_plan_of_a_few_steps(model: onnx.ModelProto, T: int) -> None:
    x = np.random.default_rng(T).standard_normal((T, 2, 6)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    want = exact(model.SerializeToString(), options).run(["out", "hn"], {"x": x})
    loaded = lstm_infer.load(model)
    got = loaded.run({"x": x})
    np.testing.assert_allclose(got["hn"], want[1], rtol=1e-4, atol=1e-5)
    # the layer behind may round a value to the other side: one unit of its scale
    assert np.mean(np.abs(got["out"] - want[0]) > 1e-5 + 1e-4 * np.abs(want[0])) < 0.01
    (program,) = loaded._programs.kept.values()
    assert program.n_calls < 60


def test_rows_of_one_signal_share_a_scale(tmp_path: Any) -> None:
    """A frame of several rows: their scale is that of the signal, whoever else is in the batch."""
    rng = np.random.default_rng(0)
    C, K, M = 3, 8, 16
    inits = [
        numpy_helper.from_array(rng.integers(-128, 128, (K, M), np.int8), "V"),
        numpy_helper.from_array(np.float32(0.01), "vs"),
        numpy_helper.from_array(np.array(3, np.int8), "vz"),
        numpy_helper.from_array(np.float32(0.5), "half"),
    ]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], name="quantise"),
        helper.make_node("MatMulInteger", ["q", "V", "qz", "vz"], ["m"], name="product"),
        helper.make_node("Cast", ["m"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["qs", "vs"], ["k"], name="scales"),
        helper.make_node("Mul", ["f", "k"], ["made"], name="scaled"),
        helper.make_node("Mul", ["state", "half"], ["kept"], name="leak"),
        helper.make_node("Add", ["made", "kept"], ["state_out"], name="sum"),
        helper.make_node("Tanh", ["state_out"], ["y"], name="tanh"),
    ]
    graph = helper.make_graph(
        nodes, "g", [_value("x", ["B", C, K]), _value("state", ["B", C, M])],
        [_value("y", ["B", C, M]), _value("state_out", ["B", C, M])], inits,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = lstm_infer.load(made, states={"state": "state_out"})
    x = rng.standard_normal((2, 5, C, K)).astype(np.float32) * np.array([1, 9, 0.1, 3, 2], np.float32)[:, None, None]
    together = model.stream(batch=5)
    got = np.stack([together.step(frame) for frame in x])
    session = exact(made.SerializeToString(), onnxruntime.SessionOptions())
    for i in range(5):
        alone = model.stream()
        np.testing.assert_array_equal(np.stack([alone.step(frame) for frame in x[:, i : i + 1]]), got[:, i : i + 1])
        want, _ = session.run(None, {"x": x[0, i : i + 1], "state": np.zeros((1, C, M), np.float32)})
        np.testing.assert_allclose(got[0, i : i + 1], want, rtol=1e-4, atol=1e-5)


def test_a_scale_that_is_no_product_s_is_that_of_one_signal() -> None:
    """The range is that of all that is fed at once, as the file says it: signals go one by one, in a pool too."""
    rng, I, H = np.random.default_rng(0), 4, 3
    inits = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (1, 3 * H, I)), ("r", (1, 3 * H, H)))
    ]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["f"]),
        helper.make_node("GRU", ["f", "w", "r", "", "", "h"], ["y", "hn"], hidden_size=H),
    ]
    graph = helper.make_graph(
        nodes, "g", [_value("x", ["T", "B", I]), _value("h", [1, "B", H])],
        [_value("y", ["T", 1, "B", H]), _value("hn", [1, "B", H])], inits,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = exact(made.SerializeToString(), onnxruntime.SessionOptions())
    model = lstm_infer.load(made)
    x = rng.standard_normal((6, 3, I)).astype(np.float32) * np.array([1, 9, 0.1], np.float32)[:, None]
    with pytest.raises(StateError, match="DynamicQuantizeLinear"):
        model.stream(batch=3)
    h, want = np.zeros((1, 1, H), np.float32), []
    for step in x[:, 1:2]:
        y, h = session.run(None, {"x": step[None], "h": h})
        want.append(y)
    np.testing.assert_allclose(model.stream().run(x[:, 1:2]), np.concatenate(want), rtol=1e-4, atol=1e-5)
    pool, alone = model.pool(), [model.stream() for _ in range(3)]
    ids = [pool.open() for _ in alone]
    for step in x:
        signals = [step[None, i : i + 1] for i in range(3)]
        apart = np.stack([stream.step(one) for stream, one in zip(alone, signals, strict=True)])
        np.testing.assert_array_equal(pool.step(ids, np.stack(signals)).reshape(apart.shape), apart)
