"""What a graph does to a state once a call, whatever the call's length, is done at every step of a stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances


def gru(before: bool) -> bytes:
    """A GRU whose state is halved in front of the sequence, or behind it."""
    rng = np.random.default_rng(3)
    weights = {"W": rng.uniform(-1, 1, (1, 12, 3)), "R": rng.uniform(-1, 1, (1, 12, 4)), "half": np.array(0.5)}
    first, last = ("halved", "hn") if before else ("h", "end")
    nodes = [
        helper.make_node("Mul", ["h", "half"] if before else ["end", "half"], ["halved" if before else "hn"]),
        helper.make_node("GRU", ["x", "W", "R", "", "", first], ["y", last], hidden_size=4),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (
        ("x", ["T", "B", 3]), ("h", [1, "B", 4]), ("y", ["T", 1, "B", 4]), ("hn", [1, "B", 4]),
    )]  # fmt: skip
    consts = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes if before else nodes[::-1], "g", ports[:2], ports[2:], consts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("before", [True, False])
def test_a_chunk_is_its_steps(before: bool) -> None:
    model = lstm_infer.load(gru(before))
    assert "one step at a time" in model.summary()
    x = np.random.default_rng(0).uniform(-1, 1, (9, 1, 3)).astype(np.float32)
    h = np.ones((1, 1, 4), np.float32)
    want = []
    for step in x:
        made = model.run({"x": step[None], "h": h})
        want.append(made["y"])
        h = made["hn"]
    for cuts in ([], [4], [1, 2, 7]):
        stream = model.stream(initial={"h": np.ones((1, 1, 4), np.float32)})
        parts = [stream.run(x[a:b]) for a, b in pairwise([0, *cuts, len(x)])]
        tolerances.exact(np.concatenate(parts), np.concatenate(want), f"cut at {cuts}")
        tolerances.exact(stream.state["h"], h, "state")


@pytest.mark.parametrize("moved", ["Identity", "Neg"])
def test_what_a_call_began_with_is_given_out_at_every_step(moved: str) -> None:
    rng = np.random.default_rng(3)
    weights = {"W": rng.uniform(-1, 1, (1, 12, 3)), "R": rng.uniform(-1, 1, (1, 12, 4))}
    nodes = [
        helper.make_node(moved, ["h"], ["was"]),
        helper.make_node("GRU", ["x", "W", "R", "", "", "h"], ["y", "hn"], hidden_size=4),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (
        ("x", ["T", "B", 3]), ("h", [1, "B", 4]), ("y", ["T", 1, "B", 4]), ("was", [1, "B", 4]), ("hn", [1, "B", 4]),
    )]  # fmt: skip
    consts = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], consts)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = lstm_infer.load(data)
    x, h = rng.uniform(-1, 1, (7, 1, 3)).astype(np.float32), np.zeros((1, 1, 4), np.float32)
    was = []
    for step in x:
        made = model.run({"x": step[None], "h": h})
        was.append(made["was"])
        h = made["hn"]
    for cuts in ([0, 7], [0, 3, 7], range(8)):
        stream = model.stream()
        for a, b in pairwise(cuts):
            tolerances.exact(stream.run(x[a:b])["was"], was[b - 1], f"cut at {list(cuts)}, up to {b}")


def test_a_state_that_runs_over_what_is_bound_moves_at_every_step() -> None:
    """u is streamed; x is a sequence of another length beside it, over which a recurrence moves a state on once a call."""
    rng = np.random.default_rng(3)
    consts = {name: rng.uniform(-1, 1, shape) for name, shape in (
        ("W", (1, 12, 3)), ("R", (1, 12, 4)), ("V", (1, 12, 2)), ("S", (1, 12, 4)),
    )}  # fmt: skip
    nodes = [
        helper.make_node("GRU", ["u", "W", "R"], ["y"], hidden_size=4),
        helper.make_node("LogSoftmax", ["x"], ["whole"], axis=0),
        helper.make_node("GRU", ["whole", "V", "S", "", "", "h"], ["", "hn"], hidden_size=4),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (
        ("u", ["T", "B", 3]), ("x", ["S", "B", 2]), ("h", [1, "B", 4]), ("y", ["T", 1, "B", 4]), ("hn", [1, "B", 4]),
    )]  # fmt: skip
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", ports[:3], ports[3:], held)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = lstm_infer.load(data)
    x, u = (rng.uniform(-1, 1, (n, 1, width)).astype(np.float32) for n, width in ((5, 2), (9, 3)))
    found = []
    for cuts in ([], [4], [1, 2, 7]):
        stream = model.stream(inputs={"x": x})
        parts = [stream.run(u[a:b]) for a, b in pairwise([0, *cuts, 9])]
        parts = [part["y"] if isinstance(part, dict) else part for part in parts]
        found.append((np.concatenate(parts), stream.state["h"]))
    for y, h in found[1:]:
        tolerances.exact(y, found[0][0])
        tolerances.exact(h, found[0][1])
