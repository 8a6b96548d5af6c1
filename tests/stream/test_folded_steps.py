"""A window over time in front of a recurrence over another axis, with the steps folded into its batch."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

C, F, H = 3, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def n(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def folded(rng, op, pads, stride, first, sizes_of):
    """x [B, T, F]: a Conv over time, a layer over F for every step, and a layer over time."""

    def f(*shape):
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    consts = {
        "k": f(C, 1, 3, 1), "W": f(1, GATES[op] * H, C), "R": f(1, GATES[op] * H, H), "W2": f(1, 3 * H, H), "R2": f(1, 3 * H, H),
        "a0": np.array([0]), "a1": np.array([1]), "i0": np.array([0]), "i1": np.array([1]), "i2": np.array([2]),
        "one": np.array([1]), "F": np.array([F]), "C": np.array([C]), "H": np.array([H]),
        "first": np.zeros((1, 1, H), np.float32) if first == "zero" else f(1, 1, H),
    }  # fmt: skip
    axis = "i1" if sizes_of == "x" else "i2"
    states = ["h0"] * (2 if op == "LSTM" else 1)
    nodes = [
        n("Unsqueeze", ["x", "a1"], ["x4"]),
        n("Conv", ["x4", "k"], ["c"], pads=[pads[0], 0, pads[1], 0], strides=[stride, 1]),
        n("Shape", ["x" if sizes_of == "x" else "c"], ["shape"]),
        n("Gather", ["shape", "i0"], ["B"]), n("Gather", ["shape", axis], ["T"]), n("Mul", ["B", "T"], ["BT"]),
        n("Transpose", ["c"], ["ct"], perm=[0, 2, 3, 1]),
        n("Concat", ["BT", "F", "C"], ["s3"], axis=0), n("Reshape", ["ct", "s3"], ["rows"]),
        n("Transpose", ["rows"], ["seq"], perm=[1, 0, 2]),
        n("Concat", ["one", "BT", "H"], ["s0"], axis=0), n("Expand", ["first", "s0"], ["h0"]),
        n(op, ["seq", "W", "R", "", "", *states], ["", "last"], hidden_size=H),
        n("Concat", ["B", "T", "H"], ["s4"], axis=0),
        n("Squeeze", ["last", "a0"], ["flat"]), n("Reshape", ["flat", "s4"], ["steps"]),
        n("Transpose", ["steps"], ["over"], perm=[1, 0, 2]),
        n("GRU", ["over", "W2", "R2"], ["Y"], hidden_size=H), n("Squeeze", ["Y", "a1"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", F])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T2", "B", H])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(made.SerializeToString(), time_axis={"x": 1})


CASES = [
    *[(op, (1, 1), 1, first, of) for op in GATES for first in ("zero", "learned") for of in ("x", "conv")],
    ("GRU", (0, 2), 1, "zero", "x"), ("LSTM", (2, 2), 1, "learned", "conv"), ("RNN", (0, 0), 1, "zero", "conv"),
    ("GRU", (1, 1), 2, "zero", "conv"), ("LSTM", (2, 0), 3, "learned", "conv"), ("RNN", (2, 0), 1, "learned", "x"),
]  # fmt: skip


@pytest.mark.parametrize("op, pads, stride, first, sizes_of", CASES)
def test_streams_with_its_lag(rng, op, pads, stride, first, sizes_of):
    model = folded(rng, op, pads, stride, first, sizes_of)
    for batch, cuts in ((1, [1] * 20), (1, [5, 15]), (2, [20]), (3, [1, 1, 12, 6])):
        x = rng.uniform(-1, 1, (batch, 20, F)).astype(np.float32)
        stream, at, got = model.stream(batch=batch), 0, []
        for steps in cuts:
            got.append(stream.run(x[:, at : at + steps]))
            at += steps
        got.append(stream.flush())
        tolerances.exact(np.concatenate(got), model.run({"x": x})["y"], f"batch {batch}, cuts {cuts}")
