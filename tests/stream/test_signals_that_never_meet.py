"""Two inputs over one time, as `time_axis=` says, whose values never meet in the graph: a chunk writes each output as it grows."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer.errors import NotStreamableError, StateError
from lstm_infer.graph.fact import Fact

I, H = 5, 6


def apart() -> bytes:
    """x [T, B, 5] -> s (a recurrence); k [T, B, 7] -> best [T, B], total [T, B, 7] (a sum over time)."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("GRU", ["x", "W", "R"], ["Y"], hidden_size=H),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("ArgMax", ["k"], ["best"], axis=-1, keepdims=0),
        helper.make_node("CumSum", ["k", "zero"], ["total"]),
    ]
    weights = {
        "W": rng.uniform(-0.6, 0.6, (1, 3 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 3 * H, H)).astype(np.float32),
        "one": np.array([1], np.int64),
        "zero": np.array(0, np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I]),
            helper.make_tensor_value_info("k", TensorProto.INT64, ["T", "B", 7]),
        ],
        [
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["T", "B", H]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["T", "B"]),
            helper.make_tensor_value_info("total", TensorProto.INT64, ["T", "B", 7]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("order", [("x", "k"), ("k", "x")])
@pytest.mark.parametrize("batch", [1, 3])
def test_chunks_and_steps(batch: int, order: tuple[str, str]) -> None:
    data, rng = apart(), np.random.default_rng(batch)
    model = lstm_infer.load(data, time_axis=dict.fromkeys(order, 0))
    feeds = {
        "x": rng.standard_normal((90, batch, I)).astype(np.float32),
        "k": rng.integers(-9, 9, (90, batch, 7)),
    }
    names = ["s", "best", "total"]
    want = dict(zip(names, onnxruntime.InferenceSession(data).run(names, feeds), strict=True))
    whole = model.run(feeds)
    stream = model.stream(batch=batch)
    pieces = [
        stream.run({name: a[start:stop] for name, a in feeds.items()})
        for start, stop in [(0, 70), (70, 70), (70, 75), (75, 89)]
    ]
    last = stream.step({name: a[89] for name, a in feeds.items()})
    for name in names:
        made = np.concatenate([*(piece[name] for piece in pieces), last[name][None]])
        assert np.array_equal(made, whole[name]), name
        np.testing.assert_allclose(made, want[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert [out.time_axis for out in model.outputs] == [0, 0, 0]


def test_an_output_that_is_not_as_foreseen_is_refused() -> None:
    """What a call trusts is looked at when its programs are made: memory of the wrong size is never written to."""
    model = lstm_infer.load(apart(), time_axis={"x": 0, "k": 0})
    plan = model.stream()._plan
    plan.out_facts["best"] = Fact((1, 2), np.dtype(np.int64))
    with pytest.raises(NotStreamableError, match="'best' is"):
        plan._block(4, plan.first_phase, False)


def mean_of_the_batch() -> bytes:
    """A frame model: x, h -> y, hn (a GRU), and k -> z, the mean over the signals of a batch of which x knows nothing."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["xt"]),
        helper.make_node("GRU", ["xt", "W", "R", "", "", "h"], ["", "hn"], hidden_size=H),
        helper.make_node("Squeeze", ["hn", "zero"], ["y"]),
        helper.make_node("ReduceMean", ["k", "zero"], ["z"], name="mean"),
    ]
    weights = {
        "W": rng.uniform(-0.6, 0.6, (1, 3 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 3 * H, H)).astype(np.float32),
        "zero": np.array([0], np.int64),
    }
    shapes = {"x": ["B", I], "h": [1, "B", H], "k": ["B", 7], "y": ["B", H], "hn": [1, "B", H], "z": [1, 7]}
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes, "g", [ports[name] for name in ("x", "h", "k")], [ports[name] for name in ("y", "hn", "z")], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def test_signals_that_meet_where_another_input_has_the_batch() -> None:
    model = lstm_infer.load(mean_of_the_batch())
    assert [port.batch_axis for port in model.inputs] == [0, 1, 0]
    with pytest.raises(StateError, match=r"'mean'.* brings the signals of a batch together"):
        model.stream(batch=3)
