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


def stacked(layers: int) -> bytes:
    """h = softsign(x[t] W + u * h), layer by layer: each runs over all steps of the one before, joined."""
    rng, make = np.random.default_rng(2), helper.make_node
    nodes, consts, x = [], {"axis": np.array([1]), "one": np.array(1.0, np.float32)}, "x"
    consts |= {f"t{t}": np.array(t) for t in range(STEPS)}
    for k in range(layers):
        consts |= {f"W{k}": rng.normal(size=(3, 3)).astype(np.float32), f"u{k}": rng.normal(size=3).astype(np.float32)}
        h = f"start{k}"
        nodes += [make("Gather", [x, "t0"], [f"first{k}"], axis=1), make("Sub", [f"first{k}"] * 2, [h])]
        for t in range(STEPS):
            at = f"{k}_{t}"
            nodes += [make("Gather", [x, f"t{t}"], [f"x{at}"], axis=1), make("MatMul", [f"x{at}", f"W{k}"], [f"a{at}"]),
                      make("Mul", [f"u{k}", h], [f"b{at}"]), make("Add", [f"a{at}", f"b{at}"], [f"s{at}"]),
                      make("Abs", [f"s{at}"], [f"m{at}"]), make("Add", [f"m{at}", "one"], [f"n{at}"]),
                      make("Div", [f"s{at}", f"n{at}"], [f"h{at}"]), make("Unsqueeze", [f"h{at}", "axis"], [f"w{at}"])]  # fmt: skip
            h = f"h{at}"
        x = f"y{k}"
        nodes.append(make("Concat", [f"w{k}_{t}" for t in range(STEPS)], [x], axis=1))
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [port("x", TensorProto.FLOAT, ["B", "T", 3])], [port(x, TensorProto.FLOAT, ["B", "T", 3])],
        [numpy_helper.from_array(v, n) for n, v in consts.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_loops_one_behind_the_other(layers: int) -> None:
    """All are as long, and what each runs over was made of the last step of the one before: they are no loop together."""
    data = stacked(layers)
    model = lstm_infer.load(data)
    assert len(model.rewritten) == layers
    x = np.random.default_rng(3).normal(size=(2, STEPS, 3)).astype(np.float32)
    (want,) = onnxruntime.InferenceSession(data).run(None, {"x": x})
    tolerances.like_onnxruntime(model.run({"x": x})[model.outputs[0].name], want)
    longer = np.concatenate([x, x], 1)
    stream = model.stream(2)
    tolerances.exact(
        np.concatenate(
            [stream.run(np.ascontiguousarray(longer[:, :3])), stream.run(np.ascontiguousarray(longer[:, 3:]))], 1
        ),
        model.run({"x": longer})[model.outputs[0].name],
    )
