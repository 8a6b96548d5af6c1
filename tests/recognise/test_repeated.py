"""Copies of a loop's body that are no known cell become one Scan; where they cannot, the copies stay, and are right."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

STEPS = 5


def unrolled(*, shown: bool = False, odd: bool = False) -> bytes:
    """h = relu(x[t] + u * h), copy by copy. shown: a state in the middle is an output; odd: one copy is another."""
    nodes, h = [], "start"
    consts = {"u": np.array([0.5, -0.3, 0.2]), "axis": np.array([1])}
    for t in range(STEPS):
        consts[f"t{t}"] = np.array(t)
        nodes += [
            helper.make_node("Gather", ["x", f"t{t}"], [f"x{t}"], axis=1),
            helper.make_node("Mul", ["u", h], [f"uh{t}"]),
            helper.make_node("Add", [f"x{t}", f"uh{t}"], [f"sum{t}"]),
            helper.make_node("Tanh" if odd and t == 3 else "Relu", [f"sum{t}"], [f"h{t}"]),
        ]
        h = f"h{t}"
    nodes += [helper.make_node("Unsqueeze", [f"h{t}", "axis"], [f"wide{t}"]) for t in range(STEPS)]
    nodes.append(helper.make_node("Concat", [f"wide{t}" for t in range(STEPS)], ["y"], axis=1))
    outputs = [("y", ["B", STEPS, 3]), (h, ["B", 3]), *([("h2", ["B", 3])] if shown else [])]
    weights = [
        numpy_helper.from_array(v.astype(np.int64 if n[0] in "at" else np.float32), n) for n, v in consts.items()
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["B", STEPS, 3]), info("start", TensorProto.FLOAT, ["B", 3])],
        [info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("how", [{}, {"shown": True}, {"odd": True}])
def test_copies_give_what_onnxruntime_gives(how: dict[str, bool]) -> None:
    data = unrolled(**how)
    model = lstm_infer.load(data, states={"start": f"h{STEPS - 1}"})
    session = onnxruntime.InferenceSession(data)
    assert ("rolled into a loop" in model.summary()) == (not how)
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.normal(size=(2, STEPS, 3)).astype(np.float32),
        "start": rng.normal(size=(2, 3)).astype(np.float32),
    }
    for (name, got), want in zip(model.run(feeds).items(), session.run(None, feeds), strict=True):
        tolerances.like_onnxruntime(got, want, name)
