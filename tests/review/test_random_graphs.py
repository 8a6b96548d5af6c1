"""Random causal graphs: pieces equal the whole, every fused set gives the same bits, onnxruntime agrees.

Working memory is filled with NaN before every run: a result that depends on what was there before differs.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from engine import onnxruntime_run
from lstm_infer import _core, _stream

FUSED = [name for name, runs in _core.list_isas() if runs and name != "scalar"]
UNARY = ["Relu", "Tanh", "Sigmoid", "Softplus", "Neg", "Abs", "Identity", "Exp", "HardSigmoid", "Elu", "Erf", "Floor"]
BINARY = ["Add", "Sub", "Mul", "Max", "Min"]


class Graph:
    """Grows node by node; every value has the shape [T, B, n] or, after a transposition, [B, T, n]."""

    def __init__(self, draw):
        self.draw, self.nodes, self.consts, self.count = draw, [], {}, 0
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.n_in = draw(st.integers(1, 9))
        self.time_major = draw(st.booleans())
        self.values = [("x", self.n_in, self.time_major)]

    def add(self, op, inputs, n_outputs=1, **attrs):
        self.count += 1
        outs = [f"v{self.count}_{i}" for i in range(n_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outs, name=f"n{self.count}", **attrs))
        return outs[0] if n_outputs == 1 else outs

    def const(self, *shape, low=-0.7, high=0.7):
        return self.keep(self.rng.uniform(low, high, shape).astype(np.float32))

    def keep(self, array):
        name = f"c{len(self.consts)}"
        self.consts[name] = np.asarray(array)
        return name

    def pick(self):
        return self.draw(st.sampled_from(self.values[-4:]))

    def as_major(self, value, time_major):
        name, _, mine = value
        return name if mine == time_major else self.add("Transpose", [name], perm=[1, 0, 2])

    def grow(self):
        kind = self.draw(
            st.sampled_from(
                ["unary", "binary", "binary", "matmul", "gemm", "norm", "softmax", "reduce", "rnn", "rnn", "conv",
                 "slice", "concat", "transpose", "where", "split", "dynamic", "expand"]
            )
        )  # fmt: skip
        value = self.pick()
        name, n, major = value
        if kind == "unary":
            made = (self.add(self.draw(st.sampled_from(UNARY)), [name]), n, major)
        elif kind == "binary":
            other = self.pick()
            right = (
                self.as_major(other, major) if other[1] in (1, n) else self.const(self.draw(st.sampled_from([1, n])))
            )
            made = (self.add(self.draw(st.sampled_from(BINARY)), [name, right]), n, major)
        elif kind == "matmul":
            m = self.draw(st.integers(1, 20))
            made = (self.add("MatMul", [name, self.const(n, m)]), m, major)
        elif kind == "gemm":
            m = self.draw(st.integers(1, 17))
            product = self.add("MatMul", [name, self.const(n, m)])
            made = (self.add("Add", [product, self.const(m)]), m, major)
        elif kind == "norm":
            scale, bias = self.const(n), self.const(n)
            made = (self.add("LayerNormalization", [name, scale, bias], axis=-1, epsilon=1e-3), n, major)
        elif kind == "softmax":
            made = (self.add(self.draw(st.sampled_from(["Softmax", "LogSoftmax"])), [name], axis=-1), n, major)
        elif kind == "reduce":
            op = self.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"]))
            made = (self.add(op, [name], axes=[-1], keepdims=1), 1, major)
        elif kind == "rnn":
            made = self.recurrence(value)
        elif kind == "conv":
            made = self.convolution(value)
        elif kind == "slice":
            a = self.draw(st.integers(0, n - 1))
            b = self.draw(st.integers(a + 1, n))
            ends = [self.keep(np.array([e], np.int64)) for e in (a, b, 2)]
            made = (self.add("Slice", [name, *ends]), b - a, major)
        elif kind == "concat":
            other = self.pick()
            made = (self.add("Concat", [name, self.as_major(other, major)], axis=2), n + other[1], major)
        elif kind == "transpose":
            made = (self.add("Transpose", [name], perm=[1, 0, 2]), n, not major)
        elif kind == "where":
            mask = self.add("Greater", [name, self.keep(np.float32(0.1))])
            made = (self.add("Where", [mask, name, self.const(n)]), n, major)
        elif kind == "split":
            if n < 2:
                return
            sizes = self.keep(np.array([1, n - 1], np.int64))
            first, second = self.add("Split", [name, sizes], 2, axis=2)
            self.values.append((first, 1, major))
            made = (second, n - 1, major)
        elif kind == "dynamic":
            row = self.add("Unsqueeze", [name, self.keep(np.array([2], np.int64))])  # [.., 1, n]
            column = self.add("Unsqueeze", [name, self.keep(np.array([3], np.int64))])  # [.., n, 1]
            dot = self.add("MatMul", [row, column])
            made = (self.add("Squeeze", [dot, self.keep(np.array([3], np.int64))]), 1, major)
        else:
            if n != 1:
                return
            made = (self.add("Mul", [name, self.const(5)]), 5, major)
        if made[1] <= 40:
            self.values.append(made)

    def recurrence(self, value):
        op = self.draw(st.sampled_from(["LSTM", "GRU", "RNN"]))
        gates, hidden = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], self.draw(st.sampled_from([1, 3, 15, 16, 17, 20]))
        x, n = self.as_major(value, True), value[1]
        inputs = [x, self.const(1, gates * hidden, n), self.const(1, gates * hidden, hidden)]
        if self.draw(st.booleans()):
            inputs.append(self.const(1, 2 * gates * hidden))
        attrs = {"linear_before_reset": int(self.draw(st.booleans()))} if op == "GRU" else {}
        y = self.add(op, inputs, hidden_size=hidden, **attrs)
        return self.add("Squeeze", [y, self.keep(np.array([1], np.int64))]), hidden, True

    def convolution(self, value):
        """Causal, over time."""
        n, m = value[1], self.draw(st.integers(1, 9))
        kernel, dilation = self.draw(st.integers(1, 4)), self.draw(st.integers(1, 3))
        x = self.add("Transpose", [value[0]], perm=[1, 2, 0] if value[2] else [0, 2, 1])
        y = self.add(
            "Conv",
            [x, self.const(m, n, kernel)],
            kernel_shape=[kernel],
            dilations=[dilation],
            pads=[(kernel - 1) * dilation, 0],
        )
        return self.add("Transpose", [y], perm=[2, 0, 1]), m, True


@st.composite
def graphs(draw):
    g = Graph(draw)
    for _ in range(draw(st.integers(2, 9))):
        g.grow()
    last = g.recurrence(g.values[-1])  # read by an output, so that there is a time axis
    g.values.append(last)
    outputs = (
        [last, *draw(st.lists(st.sampled_from(g.values[1:-1]), max_size=2, unique=True))]
        if len(g.values) > 2
        else [last]
    )
    axes = ["T", "B"] if g.time_major else ["B", "T"]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*axes, g.n_in])]
    outs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["T", "B", k] if m else ["B", "T", k])
        for n, k, m in outputs
    ]
    graph = helper.make_graph(g.nodes, "g", ports, outs, [numpy_helper.from_array(v, k) for k, v in g.consts.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    batch, T = draw(st.integers(1, 5)), draw(st.integers(1, 21))
    x = g.rng.uniform(-2, 2, (T, batch, g.n_in) if g.time_major else (batch, T, g.n_in)).astype(np.float32)
    cuts = sorted(draw(st.lists(st.integers(0, T), max_size=4)))
    return (
        model.SerializeToString(),
        x,
        0 if g.time_major else 1,
        {n: 0 if m else 1 for n, _, m in outputs},
        [0, *cuts, T],
    )


def poisoned(model):
    """The model with working memory full of NaN."""
    take = model._programs.take_arena

    def arena(n_bytes):
        made = take(n_bytes)
        made[:] = 0xFF
        return made

    model._programs.take_arena = arena
    return model


@given(graphs())
@settings(max_examples=60)
def test_pieces_equal_the_whole_on_every_fused_set(case):
    data, x, time, axes, cuts = case
    whole = None
    for isa in FUSED:
        model = poisoned(lstm_infer.load(data, isa=isa))
        made = model.run({"x": x})
        if whole is None:
            whole = made
        for name, value in made.items():
            tolerances.exact(value, whole[name], f"{name} on {isa} against {FUSED[0]}")
        batch = x.shape[1 - time]
        stream = model.stream(batch=batch)
        for again in range(2):
            parts = {name: [] for name in whole}
            for a, b in pairwise(cuts):
                _stream.fill_scratch(0xFF)
                piece = stream.run(np.ascontiguousarray(np.take(x, range(a, b), time)))
                for name in whole:
                    parts[name].append(piece[name] if isinstance(piece, dict) else piece)
            for name, value in whole.items():
                tolerances.exact(
                    np.concatenate(parts[name], axes[name]), value, f"{name}, cut at {cuts}, round {again}"
                )
            stream.reset()
        one = np.take(x, [batch - 1], 1 - time)
        for name, value in model.run({"x": one}).items():
            wanted = np.take(whole[name], [batch - 1], 1 - axes[name])
            tolerances.exact(value, wanted, f"{name}, one signal against a batch of {batch}")


@given(graphs())
@settings(max_examples=60)
def test_like_onnxruntime(case):
    data, x, *_ = case
    want = onnxruntime_run(data, {"x": x})
    if want is None:
        return
    for name, value in lstm_infer.load(data).run({"x": x}).items():
        if np.isfinite(want[name]).all() and np.abs(want[name]).max(initial=0) < 1e3:
            tolerances.like_onnxruntime(value, want[name], name)
