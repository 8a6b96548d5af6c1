"""Unrolled layers whose first step was folded from a state of zeros, in the forms that exporters leave behind."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import engine
import tolerances

lstm_infer = pytest.importorskip("lstm_infer")

T, K, H = 5, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Layer:
    """x [T, B, K] to y [T, B, H] in plain nodes, the first step folded; `whole` is the same layer as one operator."""

    def __init__(self, op, form="zeros", *, spoil=0.0, backwards=False, shared=False, before=False, steps=T):
        self.rng = np.random.default_rng(len(op) + GATES[op])
        self.kind, self.form, self.backwards, self.before, self.steps = op, form, backwards, before, steps
        self.nodes, self.consts = [], {}
        n = GATES[op] * H
        self.W, self.R = self.weight(K, n), self.weight(H, n)
        self.bx, self.bh = self.weight(n), self.weight(n)
        self.spoil = spoil
        self.shared = self.affine("x", self.W, self.bx) if shared else None

    def weight(self, *shape):
        return self.rng.normal(0, 0.6, shape).astype(np.float32)

    def const(self, array):
        name = f"k{len(self.consts)}"
        self.consts[name] = np.asarray(array)
        return name

    def do(self, op, *inputs, n_out=1, **attrs):
        outs = [f"v{len(self.nodes)}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, inputs, outs, **attrs))
        return outs[0] if n_out == 1 else outs

    def affine(self, x, w, b):
        return self.do("Add", self.do("MatMul", x, self.const(w)), self.const(b))

    def step_input(self, t):
        at = self.const(np.array(t))
        if self.shared:
            return self.do("Gather", self.shared, at, axis=0)
        return self.affine(self.do("Gather", "x", at, axis=0), self.W, self.bx)

    def cut(self, z, n):
        return [z] if n == 1 else self.do("Split", z, n_out=n, axis=1, num_outputs=n)

    def step(self, t, h, c):
        """From states h and c; None: zeros, as the form has them."""
        zx = self.step_input(t)
        if self.kind == "GRU":
            return self.gru(zx, h), None
        bias = self.bh + np.float32(self.spoil if h is None else 0)
        if h is not None:
            z = self.do("Add", zx, self.affine(h, self.R, bias))
        else:
            z = self.do("Add", zx, self.const(bias if self.form == "gone" else np.tile(bias, (2, 1))))
        if self.kind == "RNN":
            return self.do("Tanh", z), None
        i, f, g, o = self.cut(z, 4)
        new = self.do("Mul", self.do("Sigmoid", i), self.do("Tanh", g))
        if c is None and self.form != "gone":
            c = self.const(np.zeros((2, H), np.float32))
        c = new if c is None else self.do("Add", self.do("Mul", self.do("Sigmoid", f), c), new)
        return self.do("Mul", self.do("Sigmoid", o), self.do("Tanh", c)), c

    def gru(self, zx, h):
        """z, r, n: reset behind the product, or in front of it."""
        xz, xr, xn = self.cut(zx, 3)
        bias = self.bh + np.float32(self.spoil if h is None else 0)
        if h is None:
            hz, hr, hn = (self.const(part) for part in np.split(bias, 3))
        elif self.before:
            hz, hr = self.cut(self.affine(h, self.R[:, : 2 * H], bias[: 2 * H]), 2)
        else:
            hz, hr, hn = self.cut(self.affine(h, self.R, bias), 3)
        z, r = self.do("Sigmoid", self.do("Add", xz, hz)), self.do("Sigmoid", self.do("Add", xr, hr))
        if not self.before:
            n = self.do("Tanh", self.do("Add", xn, self.do("Mul", r, hn)))
        elif h is None:
            n = self.do("Tanh", self.do("Add", xn, self.const(bias[2 * H :])))
        else:
            n = self.do(
                "Tanh", self.do("Add", xn, self.affine(self.do("Mul", r, h), self.R[:, 2 * H :], bias[2 * H :]))
            )
        if h is not None:
            return self.do("Add", n, self.do("Mul", z, self.do("Sub", h, n)))
        if self.form == "gone":
            return self.do("Mul", self.do("Sub", self.const(np.float32(1)), z), n)
        return self.do("Sub", n, self.do("Mul", z, n))

    def model(self):
        h = c = None
        order = range(self.steps)[:: -1 if self.backwards else 1]
        outs = {}
        for t in order:
            h, c = self.step(t, h, c)
            outs[t] = self.do("Unsqueeze", h, self.const(np.array([0])))
        self.nodes.append(helper.make_node("Concat", [outs[t] for t in sorted(outs)], ["y"], axis=0))
        return self.pack(self.nodes, self.consts, (self.steps, 2))

    def whole(self):
        """The layer as one operator, of open sizes."""
        order = {"LSTM": [0, 3, 1, 2], "GRU": [0, 1, 2], "RNN": [0]}[self.kind]  # ONNX: i o f c; z r h

        def gates(array):
            parts = np.split(array, GATES[self.kind], axis=-1)
            return np.concatenate([parts[k] for k in order], -1)

        bias = np.concatenate([gates(self.bx), gates(self.bh)])[None]
        consts = {"W": gates(self.W).T[None].copy(), "R": gates(self.R).T[None].copy(), "B": bias}
        consts["one"] = np.array([1])
        more = {"direction": "reverse" if self.backwards else "forward"}
        more |= {"linear_before_reset": int(not self.before)} if self.kind == "GRU" else {}
        nodes = [helper.make_node(self.kind, ["x", "W", "R", "B"], ["Y"], hidden_size=H, **more),
                 helper.make_node("Squeeze", ["Y", "one"], ["y"])]  # fmt: skip
        return self.pack(nodes, consts, ("T", "B"))

    def pack(self, nodes, consts, sizes):
        def info(name, n):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, [*sizes, n])

        held = [numpy_helper.from_array(array, name) for name, array in consts.items()]
        graph = helper.make_graph(nodes, "layer", [info("x", K)], [info("y", H)], held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return model.SerializeToString()


def load(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(data)


def draw(*shape):
    return np.random.default_rng(7).normal(0, 1, shape).astype(np.float32)


FORMS = [
    ("RNN", {}), ("RNN", {"form": "gone"}), ("RNN", {"backwards": True}), ("RNN", {"shared": True}),
    ("LSTM", {}), ("LSTM", {"form": "gone"}), ("LSTM", {"backwards": True}), ("LSTM", {"shared": True}),
    ("LSTM", {"form": "gone", "steps": 2}), ("GRU", {}), ("GRU", {"form": "gone"}), ("GRU", {"before": True}),
    ("GRU", {"before": True, "form": "gone"}), ("GRU", {"backwards": True}), ("GRU", {"form": "gone", "steps": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "how"), FORMS)
def test_a_folded_first_step_is_one_of_the_layer(op, how):
    layer = Layer(op, **how)
    data, whole = layer.model(), layer.whole()
    model = load(data)
    assert [node.op for node in model._graph.nodes].count(op) == 1 and "MatMul" not in {
        node.op for node in model._graph.nodes
    }
    x = draw(layer.steps, 2, K)
    tolerances.like_onnxruntime(model.run({"x": x})["y"], engine.onnxruntime_run(data, {"x": x})["y"])
    for shape in ((1, 1), (9, 3), (2, 2)):
        x = draw(*shape, K)
        tolerances.like_onnxruntime(model.run({"x": x})["y"], engine.onnxruntime_run(whole, {"x": x})["y"])
    if not layer.backwards:
        stream = model.stream()
        x = draw(8, 1, K)
        got = np.concatenate([stream.run(x[:3]), stream.run(x[3:])])
        tolerances.exact(got, model.run({"x": x})["y"])


def rolled(data):
    """The model of a file whose steps are no layer, but one loop; in pieces it is what it is whole."""
    model = load(data)
    (text,) = model.rewritten
    assert text.endswith(f"unrolled over {T} steps: rolled into a loop over the sequence")
    x = draw(T, 2, K)
    whole = model.run({"x": x})["y"]
    tolerances.like_onnxruntime(whole, engine.onnxruntime_run(data, {"x": x})["y"])
    stream = model.stream(batch=2)
    tolerances.exact(np.concatenate([stream.run(x[:2]), stream.run(x[2:])]), whole)
    return model


@pytest.mark.parametrize("op", GATES)
def test_a_first_step_of_another_bias_makes_no_layer(op):
    """The loop begins with a state in which that bias stands."""
    rolled(Layer(op, spoil=1e-3).model())


def test_a_first_step_whose_signals_differ_makes_no_layer():
    layer = Layer("RNN")
    layer.model()
    name = next(name for name, array in layer.consts.items() if array.shape == (2, H))
    layer.consts[name] = layer.consts[name] + np.array([[0], [1]], np.float32)
    model = rolled(layer.pack(layer.nodes, layer.consts, (T, 2)))
    with pytest.raises(lstm_infer.LstmInferError):  # its two signals are those of the file
        model.run({"x": draw(T, 3, K)})


class ByLength(Layer):
    """A layer of which the first step has another bias in a long sequence."""

    def step(self, t, h, c):
        if h is not None:
            return super().step(t, h, c)
        steps = self.do("Gather", self.do("Shape", "x"), self.const(np.array(0)), axis=0)
        long = self.do("Greater", steps, self.const(np.array(9)))
        bias = self.do("Where", long, self.const(self.bh + np.float32(0.5)), self.const(self.bh))
        z = self.do("Add", self.step_input(t), bias)
        if self.kind == "RNN":
            return self.do("Tanh", z), None
        i, _, g, o = self.cut(z, 4)
        c = self.do("Mul", self.do("Sigmoid", i), self.do("Tanh", g))
        return self.do("Mul", self.do("Sigmoid", o), self.do("Tanh", c)), c


@pytest.mark.parametrize("op", ["RNN", "LSTM"])
def test_a_first_step_that_asks_for_the_length_makes_no_layer(op):
    """Of 5 steps it is one of the layer; rolled up, it would be at every length."""
    model = load(ByLength(op).model())
    refused = 0
    for steps in (3, T, 12, 24):
        x = draw(steps, 2, K)
        want = engine.onnxruntime_run(ByLength(op, steps=steps).model(), {"x": x})["y"]
        try:
            tolerances.like_onnxruntime(model.run({"x": x})["y"], want, f"{steps} steps")
        except lstm_infer.ShapeError:
            refused += 1
    assert refused < 4
