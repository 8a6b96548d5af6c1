"""A sum over all steps so far streams: its state is the sum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

T, B, I, H = 21, 2, 4, 6
LENGTHS = ([], range(1, T), [2, 5, 10, 17])


def build(axis=0, kind=TensorProto.FLOAT, **attrs):
    """y = CumSum(relu(RNN(x))) along an axis of [T, B, H]; integers where `kind` is INT64."""
    rng = np.random.default_rng(3)
    consts = {
        "W": rng.uniform(-0.6, 0.6, (1, H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, H, H)).astype(np.float32),
        "one": np.array([1]),
        "axis": np.array(axis),
        "ten": np.float32(10),
    }
    nodes = [
        helper.make_node("RNN", ["x", "W", "R"], ["Y"], name="rnn", hidden_size=H),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("Mul", ["s", "ten"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["terms"], to=kind),
        helper.make_node("CumSum", ["terms", "axis"], ["y"], name="sum", **attrs),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I])],
        [helper.make_tensor_value_info("y", kind, ["T", "B", H])],
        [numpy_helper.from_array(value, name) for name, value in consts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(model)


def signal():
    return np.random.default_rng(4).uniform(-1, 1, (T, B, I)).astype(np.float32)


def pieces(stream, x, cuts):
    return np.concatenate([stream.run(x[a:b]) for a, b in pairwise([0, *cuts, len(x)])])


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT64])
@pytest.mark.parametrize("axis", [0, -3])
def test_pieces_equal_the_whole(axis, kind, exclusive):
    model, x = build(axis, kind, exclusive=exclusive), signal()
    whole = model.run({"x": x})["y"]
    for cuts in LENGTHS:
        tolerances.exact(pieces(model.stream(B), x, cuts), whole, f"cut at {list(cuts)}")


def test_the_sum_is_a_state():
    model, x = build(), signal()
    state = next(s for s in model.states if s.name == "sum.sum")
    assert (state.shape, state.batch_axis, state.kind) == ((1, H), 0, "zero")
    stream = model.stream(B)
    y = stream.run(x)
    tolerances.exact(stream.state["sum.sum"], y[-1])
    snap = stream.snapshot()
    after = stream.run(x)
    stream.restore(snap)
    tolerances.exact(stream.run(x), after, "restored")
    stream.reset(rows=[1])
    tolerances.exact(stream.run(x)[:, 1], y[:, 1], "a reset row")


def test_a_batch_is_its_signals_side_by_side():
    model, x = build(), signal()
    together = model.stream(B).run(x)
    for b in range(B):
        tolerances.exact(model.stream().run(np.ascontiguousarray(x[:, b : b + 1])), together[:, b : b + 1])


def test_a_sum_inside_a_frame_carries_nothing():
    model, x = build(axis=2), signal()
    assert [s.name for s in model.states] == ["rnn.h"]
    tolerances.exact(pieces(model.stream(B), x, [3, 4]), model.run({"x": x})["y"])


def test_a_sum_from_the_end_is_refused():
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        build(reverse=1).stream()
    assert (caught.value.node, caught.value.op) == ("sum", "CumSum")


@pytest.mark.parametrize("axis", [0, 1])
def test_a_model_that_is_nothing_but_a_sum_is_told_where_time_is(rng, axis):
    graph = helper.make_graph(
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["A", "B", I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axis), "axis")],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    remedy = f"load(..., time_axis={{'x': {axis}}})"
    with pytest.raises(lstm_infer.NotStreamableError) as refused:
        lstm_infer.load(data).stream()
    assert remedy in str(refused.value)
    model = lstm_infer.load(data, time_axis={"x": axis})
    x = rng.uniform(-1, 1, (5, 5, I)).astype(np.float32)
    stream, parts = model.stream(batch=5), [np.take(x, range(2), axis), np.take(x, range(2, 5), axis)]
    tolerances.exact(np.concatenate([stream.run(part) for part in parts], axis), model.run({"x": x})["y"])
