"""States that are updated where they lie: nothing may read the old one after it was overwritten, in bodies too."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

FLOAT = TensorProto.FLOAT
I, H = 5, 7
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SCALARS = {"keep": np.float32(0.7), "take": np.float32(0.3), "zero": np.float32(0)}
INDEX = {"a0": np.array([0]), "a1": np.array([1]), "i0": np.array(0), "true": np.array(True)}


def n(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def cell(op, x, h, out, weights=""):
    """One step of a layer that starts from h and ends in out, both [1, B, H]; x is [1, B, I]."""
    ins = [x, f"W{weights}", f"R{weights}", "", "", h] + (["c"] if op == "LSTM" else [])
    outs = ["", out] + (["cn"] if op == "LSTM" else [])
    return n(op, ins, outs, hidden_size=H)


def body(op, kind):
    """Nodes from h and u [1, B, I] to hn [1, B, H] and out [B, .]."""
    if kind == "after":
        mix = [n("Mul", ["g", "take"], ["g2"]), n("Mul", ["h", "keep"], ["h2"]), n("Add", ["g2", "h2"], ["hn"])]
        return [cell(op, "u", "h", "g"), *mix, n("Squeeze", ["hn", "a0"], ["out"])]
    if kind == "before":
        return [n("Mul", ["h", "keep"], ["h2"]), cell(op, "u", "h2", "g"), n("Add", ["g", "h"], ["hn"]),
                n("Squeeze", ["g", "a0"], ["out"])]  # fmt: skip
    if kind == "read late":
        return [
            cell(op, "u", "h", "hn"),
            n("Concat", ["hn", "h"], ["both"], axis=2),
            n("Squeeze", ["both", "a0"], ["out"]),
        ]
    if kind == "read early":
        return [n("Tanh", ["h"], ["old"]), cell(op, "u", "h", "hn"), n("Add", ["old", "hn"], ["both"]),
                n("Squeeze", ["both", "a0"], ["out"])]  # fmt: skip
    if kind == "twice":  # two cells start from one state
        return [cell(op, "u", "h", "g"), n("RNN", ["u", "W2", "R2", "", "", "h"], ["", "hn"], hidden_size=H),
                n("Add", ["g", "hn"], ["both"]), n("Squeeze", ["both", "a0"], ["out"])]  # fmt: skip
    if kind == "chain":  # the state between two cells is read behind the second
        return [cell(op, "u", "h", "g"), n("RNN", ["u", "W2", "R2", "", "", "g"], ["", "hn"], hidden_size=H),
                n("Sub", ["hn", "g"], ["both"]), n("Squeeze", ["both", "a0"], ["out"])]  # fmt: skip
    assert kind == "choice"
    info = [helper.make_tensor_value_info(name, FLOAT, [1, None, H]) for name in ("yes", "no")]
    then = helper.make_graph([cell(op, "u", "h", "g"), n("Add", ["g", "h"], ["yes"])], "then", [], info[:1])
    other = helper.make_graph([n("Mul", ["h", "keep"], ["no"])], "else", [], info[1:])
    states = [n("Identity", ["c"], ["cn"])] if op == "LSTM" else []
    return [n("ReduceMean", ["u"], ["mean"], keepdims=0), n("Less", ["zero", "mean"], ["cond"]),
            n("If", ["cond"], ["hn"], then_branch=then, else_branch=other), *states,
            n("Squeeze", ["hn", "a0"], ["out"])]  # fmt: skip


KINDS = ("after", "before", "read late", "read early", "twice", "chain", "choice")


def model(rng, op, nodes, x_shape, width):
    """Nodes from x, h (and c) to y, hn (and cn), loaded with the states named."""
    consts = dict(SCALARS) | INDEX
    for suffix, gates in (("", GATES[op]), ("2", 1)):
        consts[f"W{suffix}"] = rng.uniform(-0.6, 0.6, (1, gates * H, I)).astype(np.float32)
        consts[f"R{suffix}"] = rng.uniform(-0.6, 0.6, (1, gates * H, H)).astype(np.float32)
    states = ["h", "c"][: 2 if op == "LSTM" else 1]

    def ports(rows):
        return [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in rows]

    held = [(s, [1, "B", H]) for s in states]
    outs = [("y", [*x_shape[:-1], width]), *((f"{s}n", shape) for s, shape in held)]
    graph = helper.make_graph(
        nodes, "g", ports([("x", x_shape), *held]), ports(outs),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(made.SerializeToString(), states={s: f"{s}n" for s in states})


def looped(op, kind, how):
    """The body over the first axis of x."""
    states = ["h", "c"][: 2 if op == "LSTM" else 1]
    inner = [n("Unsqueeze", ["xt", "a0"], ["u"]), *body(op, kind)]
    held = [helper.make_tensor_value_info(s, FLOAT, [1, None, H]) for s in states]
    after = [helper.make_tensor_value_info(f"{s}n", FLOAT, [1, None, H]) for s in states]
    out = helper.make_tensor_value_info("out", FLOAT, [None, None])
    if how == "Scan":
        xt = helper.make_tensor_value_info("xt", FLOAT, [None, I])
        graph = helper.make_graph(inner, "body", [*held, xt], [*after, out])
        outs = [f"{s}n" for s in states]
        return [n("Scan", [*states, "x"], [*outs, "y"], body=graph, num_scan_inputs=1)]
    index = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    go = helper.make_tensor_value_info("go2", TensorProto.BOOL, [])
    inner = [n("Gather", ["x", "i"], ["xt"]), n("Identity", ["go"], ["go2"]), *inner]
    graph = helper.make_graph(inner, "body", [*index, *held], [go, *after, out])
    trips = [n("Shape", ["x"], ["shape"]), n("Gather", ["shape", "i0"], ["trips"])]
    return [*trips, n("Loop", ["trips", "true", *states], [*(f"{s}n" for s in states), "y"], body=graph)]


def check(found, rng, x_shape, cuts, batch=2):
    """A stream against runs that are handed the states, call by call."""
    held = {s.name: rng.uniform(-1, 1, (1, batch, H)).astype(np.float32) for s in found.states}
    stream = found.stream(batch=batch, initial=held)
    frame = found.streaming.mode == "frame"
    for at, steps in enumerate(cuts):
        x = rng.uniform(-1, 1, [{"T": steps, "B": batch}.get(n, n) for n in x_shape]).astype(np.float32)
        want = found.run({"x": x, **held})
        held = {s.name: want[s.output] for s in found.states}
        got = stream.step(x) if frame else stream.run(x)
        tolerances.exact(got, want["y"], f"call {at}")
        for name, value in held.items():
            tolerances.exact(stream.state[name], value, f"{name} behind call {at}")


@pytest.mark.parametrize("how", ["Scan", "Loop"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", GATES)
def test_in_the_body_of_a_loop(rng, op, kind, how):
    width = 2 * H if kind == "read late" else H
    found = model(rng, op, looped(op, kind, how), ["T", "B", I], width)
    check(found, rng, ["T", "B", I], [5, 1, 64, 1, 3], batch=1 if kind == "choice" else 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", GATES)
def test_in_a_frame_model(rng, op, kind):
    width = 2 * H if kind == "read late" else H
    nodes = [n("Unsqueeze", ["x", "a0"], ["u"]), *body(op, kind), n("Identity", ["out"], ["y"])]
    found = model(rng, op, nodes, ["B", I], width)
    check(found, rng, ["B", I], [1] * 4, batch=1 if kind == "choice" else 2)


@pytest.mark.parametrize("op", GATES)
def test_a_loop_in_a_loop(rng, op):
    """The inner loop runs the cell three times from the outer state, which is blended in behind it."""
    states = ["h", "c"][: 2 if op == "LSTM" else 1]
    index = [
        helper.make_tensor_value_info("j", TensorProto.INT64, []),
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
    ]
    held = [helper.make_tensor_value_info(f"{s}_in", FLOAT, [1, None, H]) for s in states]
    outs = [helper.make_tensor_value_info(f"{s}_out", FLOAT, [1, None, H]) for s in states]
    on = helper.make_tensor_value_info("on2", TensorProto.BOOL, [])
    ins = ["u", "W", "R", "", "", *(f"{s}_in" for s in states)]
    inner = [n(op, ins, ["", *(f"{s}_out" for s in states)], hidden_size=H), n("Not", ["stop"], ["on2"])]
    inner.insert(0, n("ReduceMax", [f"{states[0]}_in"], ["top"], keepdims=0))
    inner.insert(1, n("Less", ["five", "top"], ["stop"]))
    loop = helper.make_graph(inner, "inner", [*index, *held], [on, *outs])
    mix = [n("Mul", ["g", "take"], ["g2"]), n("Mul", ["h", "keep"], ["h2"]), n("Add", ["g2", "h2"], ["hn"])]
    outer = [n("Unsqueeze", ["xt", "a0"], ["u"]), n("Loop", ["three", "true", *states], ["g", "cn"][: len(states)], body=loop),
             *mix, n("Squeeze", ["hn", "a0"], ["out"])]  # fmt: skip
    held = [helper.make_tensor_value_info(s, FLOAT, [1, None, H]) for s in states]
    after = [helper.make_tensor_value_info(f"{s}n", FLOAT, [1, None, H]) for s in states]
    xt, out = (
        helper.make_tensor_value_info("xt", FLOAT, [None, I]),
        helper.make_tensor_value_info("out", FLOAT, [None, H]),
    )
    graph = helper.make_graph(outer, "outer", [*held, xt], [*after, out])
    scan = n("Scan", [*states, "x"], [*(f"{s}n" for s in states), "y"], body=graph, num_scan_inputs=1)
    more = [n("Constant", [], ["three"], value_int=3), n("Constant", [], ["five"], value_float=5.0)]
    found = model(rng, op, [*more, scan], ["T", "B", I], H)
    check(found, rng, ["T", "B", I], [5, 1, 3], batch=1)


@pytest.mark.parametrize("op", GATES)
def test_a_state_that_nobody_reads_again_is_not_copied(rng, op):
    """Read early, or not at all: the cell writes over it."""
    for kind in ("read early", "chain"):
        nodes = [n("Unsqueeze", ["x", "a0"], ["u"]), *body(op, kind), n("Identity", ["out"], ["y"])]
        program = model(rng, op, nodes, ["B", I], H).stream()._plan.blocks[-1].program
        assert ("copy" in program.slots) == (kind == "chain"), (kind, program.slots)
