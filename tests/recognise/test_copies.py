"""Loops unrolled by an exporter, whatever stands in a copy: one Scan that runs at every length, or left as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

T, F, H = 6, 3, 3


class Unroller:
    """Nodes of a loop over x [B, T, F], copy by copy; y [B, T, H] stacks what each copy shows."""

    def __init__(
        self, step: Callable[[Unroller, int, str, list[str]], tuple[str, list[str]]], n: int, how: dict
    ) -> None:
        self.n, self.nodes, self.consts = n, [], {}
        self.how = {"reads": "Gather", "states": 1, "reverse": False, "last": False, "one": False, **how}
        self.rng = np.random.default_rng(3)
        self.W, self.k, self.q = (self.const(self.rng.normal(0, 0.5, s).astype(np.float32)) for s in ((F, H), H, H))
        zeros = self.const(np.zeros((1, H), np.float32))
        zeros = zeros if self.how["one"] else self.do("Expand", self.const(np.zeros(1, np.float32)), self.shape())
        states, shown = [zeros] * self.how["states"], []
        order = range(n - 1, -1, -1) if self.how["reverse"] else range(n)
        parts = self.split(n) if self.how["reads"] == "Split" else []
        for t, at in enumerate(order):
            y, states = step(self, t, self.read(at, parts), states)
            shown.append(self.do("Unsqueeze", y, self.const([1])))
        if self.how["last"]:
            self.do("Squeeze", shown[-1], self.const([1]), out="y")
        else:
            self.do("Concat", *(shown[::-1] if self.how["reverse"] else shown), axis=1, out="y")

    def split(self, n: int) -> list[str]:
        parts = self.do("Split", "x", self.const(np.ones(n)), axis=1, n_out=n)
        return [parts] if n == 1 else parts

    def shape(self) -> str:
        batch = self.do("Gather", self.do("Shape", "x"), self.const([0]), axis=0)
        return self.do("Concat", batch, self.const([H]), axis=0)

    def read(self, t: int, parts: list[str]) -> str:
        if self.how["reads"] == "Gather":
            return self.do("Gather", "x", self.const(t), axis=1)
        cut = parts[t] if parts else self.do("Slice", "x", *(self.const([v]) for v in (t, t + 1, 1)))
        return self.do("Squeeze", cut, self.const([1]))

    def const(self, value: object) -> str:
        array = np.asarray(value)
        name = f"k{len(self.consts)}"
        self.consts[name] = array if array.dtype in (np.float32, np.bool_) else array.astype(np.int64)
        return name

    def do(self, op: str, *inputs: str, n_out: int = 1, out: str = "", **attrs: object):
        outs = [out] if out else [f"v{len(self.nodes)}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, inputs, outs, **attrs))
        return outs[0] if n_out == 1 else outs

    def model(self) -> bytes:
        info = helper.make_tensor_value_info
        y = ["B", H] if self.how["last"] else ["B", "T", H]
        x = [1, self.n, F] if self.how["one"] else ["B", "T", F]
        graph = helper.make_graph(
            self.nodes, "g", [info("x", TensorProto.FLOAT, x)], [info("y", TensorProto.FLOAT, y)],
            [numpy_helper.from_array(v, k) for k, v in self.consts.items()],
        )  # fmt: skip
        onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx_model.SerializeToString()


def leaky(b, t, x, states):
    h = b.do("Add", b.do("Mul", b.k, states[0]), b.do("MatMul", x, b.W))
    return b.do("Tanh", h), [h]


def folded(b, t, x, states):
    """The first copy has no product with the state left."""
    h = b.do("MatMul", x, b.W)
    h = b.do("Add", b.do("Mul", b.k, b.do("Sigmoid", states[0])), h) if t else b.do("Add", h, b.half())
    return b.do("Tanh", h), [h]


def old_state(b, t, x, states):
    """What is shown is the state before; the last update is gone."""
    y = b.do("Add", b.do("Tanh", states[0]), x)
    return y, [y if t == b.n - 1 else b.do("Add", b.do("Mul", b.k, states[0]), b.do("MatMul", x, b.W))]


def two_states(b, t, x, states):
    """Products of one zero are shared in the first copy."""
    p, q = states
    kp = b.do("Mul", b.k, p)
    kq = kp if p == q else b.do("Mul", b.k, q)
    p, q = b.do("Add", b.do("Sub", kp, q), b.do("MatMul", x, b.W)), b.do("Add", kq, p)
    return b.do("Add", p, q), [p, q]


def mean(b, t, x, states):
    """A running mean, divided by a number that is another in each copy."""
    h = b.do("Add", states[0], b.do("Div", b.do("Sub", x, states[0]), b.const(np.float32(t + 1))))
    return h, [h]


def mean_chained(b, t, x, states):
    """The same with a counter of nodes."""
    h, n = states
    n = b.do("Add", n, b.const(np.float32(1)))
    h = b.do("Add", h, b.do("Div", b.do("Sub", x, h), n))
    return h, [h, n]


def delayed(b, t, x, states):
    return b.do("Sub", x, states[0]), [x]


def two_back(b, t, x, states):
    """States of one and of two steps before."""
    h = b.do("Add", b.do("Sub", b.do("Mul", b.k, states[0]), b.do("Mul", b.q, states[1])), b.do("MatMul", x, b.W))
    return h, [h, states[0]]


def branched(b, t, x, states):
    """An If in each copy, which reads the state and the step from outside."""
    info = helper.make_tensor_value_info
    first = b.do("ReduceMax", x, keepdims=0)
    again = b.do("Greater", first, b.const(np.float32(0.9)))
    graphs = {}
    for name, op in (("then_branch", "Add"), ("else_branch", "Sub")):
        out = f"{name}{t}"
        node = helper.make_node(op, [states[0], x], [out])
        graphs[name] = helper.make_graph([node], name, [], [info(out, TensorProto.FLOAT, None)])
    h = b.do("Mul", b.do("If", again, **graphs), b.k)
    return h, [h]


def zoneout(b, t, x, states):
    """An LSTM cell of the file, its states blended with the ones before."""
    h, c = states
    if t == 0:
        b.cell = [b.const(b.rng.normal(0, 0.5, s).astype(np.float32)) for s in ((1, 4 * H, F), (1, 4 * H, H))]
    zero = b.const([0])
    given = [b.do("Unsqueeze", v, zero) for v in (x, h, c)]
    _, hn, cn = b.do("LSTM", given[0], *b.cell, "", "", *given[1:], n_out=3, hidden_size=H)
    new = []
    for before, after in ((h, b.do("Squeeze", hn, zero)), (c, b.do("Squeeze", cn, zero))):
        new.append(b.do("Add", b.do("Mul", b.q, before), b.do("Mul", b.k, after)))
    return new[0], new


def chunked(b, t, x, states):
    """Gates that are cut where sizes say that are asked of the value itself, as a chunk of two parts is written; and the
    product with the first state, of zeros, is folded to a bias."""
    if t == 0:
        b.wide = b.const(b.rng.normal(0, 0.5, (F, 2 * H)).astype(np.float32))
        b.back = b.const(b.rng.normal(0, 0.5, (H, 2 * H)).astype(np.float32))
        b.bias = b.const(b.rng.normal(0, 0.5, 2 * H).astype(np.float32))
    rest = b.do("Add", b.do("MatMul", states[0], b.back), b.bias) if t else b.bias
    gates = b.do("Add", b.do("MatMul", x, b.wide), rest)
    size = b.do("Gather", b.do("Shape", gates), b.const([1]), axis=0)
    middle = b.do("Div", b.do("Add", size, b.const([1])), b.const([2]))
    one = b.const([1])
    z = b.do("Sigmoid", b.do("Slice", gates, b.const([0]), middle, one))
    c = b.do("Slice", gates, middle, b.do("Mul", middle, b.const([2])), one)
    h = b.do("Mul", z, c)
    h = b.do("Add", h, b.do("Mul", b.do("Sub", b.const(np.float32(1)), z), states[0])) if t else h
    return h, [h]


BODIES = {
    "leaky": (leaky, {}), "folded": (folded, {}), "old state": (old_state, {}), "two states": (two_states, {"states": 2}),
    "mean": (mean, {}), "mean, chained": (mean_chained, {"states": 2}), "delayed": (delayed, {}),
    "two back": (two_back, {"states": 2}), "branched": (branched, {}), "zoneout": (zoneout, {"states": 2}),
    "cut": (leaky, {"reads": "Slice"}), "split": (folded, {"reads": "Split"}), "reverse": (old_state, {"reverse": True}),
    "reverse, counted": (mean, {"reverse": True}),
    "last": (mean_chained, {"states": 2, "last": True}),
}  # fmt: skip


def half(self: Unroller) -> str:
    """k * sigmoid(0), as it was folded."""
    return self.const((self.consts[self.k] * 0.5).astype(np.float32))


Unroller.half = half


@pytest.mark.parametrize("name", BODIES)
def test_copies_become_a_loop(name: str) -> None:
    body, how = BODIES[name]
    data, long = (Unroller(body, n, how).model() for n in (T, 9))
    model = lstm_infer.load(data)
    assert any("rolled into a" in text for text in model.rewritten)
    for n, batch, source in ((T, 2, data), (9, 1, long), (9, 3, long)):
        x = np.random.default_rng(n).normal(size=(batch, n, F)).astype(np.float32)
        want = onnxruntime.InferenceSession(source).run(None, {"x": x})[0]
        got = model.run({"x": x})["y"]
        tolerances.like_onnxruntime(got, want)
        if how.get("reverse") or (batch > 1 and name in ("mean", "branched")):  # a number, a branch of all signals
            continue
        stream = model.stream(batch=batch)
        pieces = [stream.run(part) for part in (x[:, :1], x[:, 1:5], x[:, 5:])]
        tolerances.exact(pieces[-1] if how.get("last") else np.concatenate(pieces, 1), got)


@pytest.mark.parametrize("name", ["leaky", "folded", "two states", "two back", "zoneout", "chunked"])
def test_a_file_of_one_signal_runs_and_streams_at_every_length(name: str) -> None:
    """Its first state is a constant of one signal: the length is open, and the batch is not."""
    body, how = {**BODIES, "chunked": (chunked, {})}[name]
    model = lstm_infer.load(Unroller(body, T, {**how, "one": True}).model())
    assert any("rolled into a" in text for text in model.rewritten)
    for n in (T, 9, 1):
        x = np.random.default_rng(n).normal(size=(1, n, F)).astype(np.float32)
        want = onnxruntime.InferenceSession(Unroller(body, n, {**how, "one": True}).model()).run(None, {"x": x})[0]
        got = model.run({"x": x})["y"]
        tolerances.like_onnxruntime(got, want)
        for cuts in ([], [1, 4], range(1, n)):
            stream = model.stream()
            tolerances.exact(np.concatenate([stream.run(part) for part in np.split(x, cuts, 1)], 1), got)
    with pytest.raises(lstm_infer.errors.ShapeError):
        model.run({"x": np.zeros((2, T, F), np.float32)})


def test_both_directions_over_one_input() -> None:
    """Two loops in one file, one of them backwards, and what both make put side by side: one loop after the other."""

    def both(n: int) -> bytes:
        b = Unroller(two_states, n, {"states": 2})
        b.nodes[-1].output[0] = "ahead"
        back = b.do("Expand", b.const(np.zeros(1, np.float32)), b.shape())
        states, shown = [back, back], []
        for t in range(n - 1, -1, -1):
            y, states = two_states(b, t, b.read(t, []), states)
            shown.insert(0, b.do("Unsqueeze", y, b.const([1])))
        b.do("Add", "ahead", b.do("Concat", *shown, axis=1), out="y")
        return b.model()

    model = lstm_infer.load(both(T))
    assert sum("rolled into a" in text for text in model.rewritten) == 2
    for n in (T, 9):
        x = np.random.default_rng(n).normal(size=(2, n, F)).astype(np.float32)
        want = onnxruntime.InferenceSession(both(n)).run(None, {"x": x})[0]
        tolerances.like_onnxruntime(model.run({"x": x})["y"], want)
    with pytest.raises(lstm_infer.NotStreamableError, match="runs backwards"):
        model.stream()


def other_weight(b, t, x, states):
    """One copy in the middle has a weight of its own."""
    h = b.do("Add", b.do("Mul", b.q if t == 3 else b.k, states[0]), x)
    return h, [h]


def other_op(b, t, x, states):
    h = b.do("Add", b.do("Mul", b.k, states[0]), x)
    return h, [b.do("Relu" if t == 2 else "Tanh", h)]


def no_rule(b, t, x, states):
    """Numbers that no counter makes."""
    h = b.do("Add", b.do("Mul", b.k, states[0]), b.do("Mul", x, b.const(np.float32([1, 2, 4, 7, 3, 5][t]))))
    return h, [h]


def of_the_first(b, t, x, states):
    """Every step reads what the first made."""
    h = b.do("Add", b.do("Mul", b.k, states[0]), x)
    b.first = h if t == 0 else b.first
    return b.do("Sub", h, b.first), [h]


def other_first(b, t, x, states):
    """No first state gives what the first copy makes."""
    h = b.do("Add", b.do("Mul", b.k, b.do("Sigmoid", states[0])), x) if t else b.do("Mul", x, x)
    return b.do("Tanh", h), [b.do("Tanh", h)]


@pytest.mark.parametrize("body", [other_weight, other_op, no_rule, of_the_first, other_first])
def test_what_is_no_loop_stays_and_is_named(body) -> None:
    data = Unroller(body, T, {}).model()
    model = lstm_infer.load(data)
    assert not any("rolled into a" in text for text in model.rewritten)
    x = np.random.default_rng(0).normal(size=(2, T, F)).astype(np.float32)
    want = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    tolerances.like_onnxruntime(model.run({"x": x})["y"], want)
    with pytest.raises(lstm_infer.NotStreamableError, match=f"unrolled over T={T} steps"):
        model.stream()
