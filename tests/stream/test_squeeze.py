"""Squeezes that name no axes: a stream takes away at every number of steps what a run over many takes away."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

I, H = 5, 7


def head(rng, layout, tail):
    """A layer, a head of one unit, a Squeeze without axes, and what comes behind it."""

    def f(*shape):
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    consts = {
        "W": f(1, H, I),
        "R": f(1, H, H),
        "D": f(H, 1),
        "a1": np.array([1]),
        "half": np.float32(0.5),
        "mix": f(3, 3),
    }
    nodes = [("Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]})] if layout == "BT" else [("Identity", ["x"], ["xt"], {})]
    if layout == "T":
        nodes = [("Unsqueeze", ["x", "a1"], ["xt"], {})]
    nodes += [("RNN", ["xt", "W", "R"], ["Y"], {"hidden_size": H}), ("Squeeze", ["Y", "a1"], ["y1"], {})]
    nodes += (
        [("Transpose", ["y1"], ["y2"], {"perm": [1, 0, 2]})] if layout == "BT" else [("Identity", ["y1"], ["y2"], {})]
    )
    nodes += [("MatMul", ["y2", "D"], ["z"], {}), ("Squeeze", ["z"], ["s"], {})]
    behind = {
        "nothing": [("Identity", ["s"], ["y"], {})],
        "sigmoid": [("Sigmoid", ["s"], ["l"], {}), ("Mul", ["l", "half"], ["y"], {})],
        "sum": [("CumSum", ["s", "a0"], ["y"], {})],
    }[tail]
    consts["a0"] = np.array(0)
    shape = {"T": ["T", I], "TB": ["T", "B", I], "BT": ["B", "T", I]}[layout]
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attrs) for op, ins, outs, attrs in [*nodes, *behind]], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(made.SerializeToString())


@pytest.mark.parametrize("tail", ["nothing", "sigmoid"])
@pytest.mark.parametrize("layout, batch", [("T", 1), ("TB", 1), ("TB", 2), ("BT", 1), ("BT", 3)])
def test_ranks_at_one_step_are_those_of_others(rng, layout, batch, tail):
    model, axis = head(rng, layout, tail), int(layout == "BT")
    x = rng.uniform(-1, 1, {"T": (20, I), "TB": (20, batch, I), "BT": (batch, 20, I)}[layout]).astype(np.float32)
    whole = model.run({"x": x})["y"]
    time = whole.ndim - 1 if layout == "BT" else 0
    for cuts in ([20], [1] * 20, [4, 0, 16]):
        stream, at, got = model.stream(batch=batch), 0, []
        for steps in cuts:
            got.append(stream.run(x.take(range(at, at + steps), axis)))
            at += steps
        tolerances.exact(np.concatenate(got, time), whole, f"cuts {cuts}")
    stream.reset()
    for t in range(3):
        tolerances.exact(stream.step(x.take(t, axis)), whole.take(t, time), f"step {t}")


@pytest.mark.parametrize("layout, batch", [("BT", 1), ("BT", 2), ("TB", 1), ("TB", 3)])
def test_axes_counted_behind_are_those_of_this_batch(rng, layout, batch):
    """At a batch of 1 the axis that the CumSum runs over is another one: one signal is read by itself."""
    model = head(rng, layout, "sum")
    assert model.streaming.inputs == ("x",)
    x = rng.uniform(-1, 1, {"TB": (20, batch, I), "BT": (batch, 20, I)}[layout]).astype(np.float32)
    whole, stream = model.run({"x": x})["y"], model.stream(batch=batch)
    parts = np.split(x, [4, 5, 16], axis=int(layout == "BT"))
    got = np.concatenate([stream.run(part) for part in parts], whole.ndim - 1 if layout == "BT" else 0)
    tolerances.exact(got, whole, "in pieces")


@pytest.mark.parametrize("layout", ["TB", "BT"])
def test_one_signal_streams_as_several_do(rng, layout):
    """What a number is multiplied with behind the Squeeze may have an axis more: so a pool takes many signals at once."""
    model = head(rng, layout, "sigmoid")
    assert "one signal at a time" not in model.summary()
    x = rng.uniform(-1, 1, (3, 4, I)).astype(np.float32)
    pool = model.pool()
    ids = [pool.open() for _ in x]
    for t in range(x.shape[1]):
        got = pool.step(ids, x[:, t][:, None])
        for row, signal in zip(got, x, strict=True):
            whole = model.run({"x": signal[:, None] if layout == "TB" else signal[None]})["y"]
            tolerances.exact(row.reshape(-1), whole[t].reshape(-1), f"step {t}")
