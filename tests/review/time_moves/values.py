"""What is done to the elements and features of a value; along its steps it mostly does not matter."""

from __future__ import annotations

import numpy as np
from graph_nodes import BINARY, Impossible
from onnx import TensorProto

UNARY = ["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Softplus", "Identity"]


def unary(g):
    name, axes = g.value()
    g.put(g.do(g.pick.choice(UNARY), name), axes)


def binary(g):
    name, axes = g.value()
    same = [v for v, a in g.values if a == axes]
    g.put(g.do(g.pick.choice(BINARY), name, g.pick.choice(same)), axes)


def broadcast(g):
    """With a value of fewer or shorter axes."""
    name, axes = g.value()
    fits = [(v, a) for v, a in g.values if a and len(a) <= len(axes) and all(
        n in (m, 1) for n, m in zip(a[::-1], axes[::-1], strict=False))]  # fmt: skip
    other, _ = g.pick.choice(fits)
    g.put(g.do(g.pick.choice(BINARY), name, other), axes)


def constant(g):
    name, axes = g.value()
    shape = [n if isinstance(n, int) and g.pick.random() < 0.7 else 1 for n in axes]
    g.put(g.do(g.pick.choice(BINARY), name, g.floats(*shape)), axes)


def thin(g):
    """A part of the features."""
    name, axes = g.value()
    found = [a for a, n in enumerate(axes) if isinstance(n, int) and n > 1]
    if not found:
        raise Impossible
    a = g.pick.choice(found)
    made = g.do("Slice", name, g.ints(0), g.ints(axes[a] - 1), g.ints(a))
    g.put(made, [n - 1 if b == a else n for b, n in enumerate(axes)])


def split(g):
    name, axes = g.value()
    found = [a for a, n in enumerate(axes) if isinstance(n, int) and n > 1]
    if not found:
        raise Impossible
    a = g.pick.choice(found)
    parts = g.do("Split", name, g.ints(1, axes[a] - 1), n_out=2, axis=a)
    g.put(parts[0], [1 if b == a else n for b, n in enumerate(axes)])
    g.put(parts[1], [axes[a] - 1 if b == a else n for b, n in enumerate(axes)])


def concat(g):
    name, axes = g.value()
    found = [(v, a, x) for v, x in g.values for a in range(len(axes)) if len(x) == len(axes) and all(
        n == m or b == a for b, (n, m) in enumerate(zip(x, axes, strict=True)))]  # fmt: skip
    if not found:
        raise Impossible
    other, a, x = g.pick.choice(found)
    both = axes[a] + x[a] if isinstance(axes[a], int) and isinstance(x[a], int) else g.new_length()
    if axes[a] == "B" or x[a] == "B":
        raise Impossible
    g.put(g.do("Concat", name, other, axis=a), [both if b == a else n for b, n in enumerate(axes)])


def mask(g):
    name, axes = g.value()
    above = g.do("Greater", name, g.const(np.float32(0.1)))
    same = [v for v, a in g.values if a == axes]
    g.put(g.do("Where", above, name, g.pick.choice([*same, g.const(np.float32(-1))])), axes)


def matmul(g):
    name, axes = g.value()
    if len(axes) < 2 or not isinstance(axes[-1], int):
        raise Impossible
    m = g.pick.choice([1, 2, 4])
    g.put(g.do("MatMul", name, g.floats(axes[-1], m)), [*axes[:-1], m])


def norm(g):
    name, axes = g.value()
    if not axes or not isinstance(axes[-1], int):
        raise Impossible
    g.put(g.do("LayerNormalization", name, g.floats(axes[-1]), axis=-1, epsilon=1e-2), axes)


def softmax(g):
    name, axes = g.value()
    if not axes:
        raise Impossible
    g.put(g.do(g.pick.choice(["Softmax", "LogSoftmax"]), name, axis=g.pick.randrange(len(axes))), axes)


def reduce(g):
    name, axes = g.value()
    if not axes:
        raise Impossible
    a, keep = g.pick.randrange(len(axes)), g.pick.choice([0, 1])
    op = g.pick.choice(["ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean"])
    made = g.do("ReduceSum", name, g.ints(a), keepdims=keep) if op == "ReduceSum" else g.do(
        op, name, axes=[a], keepdims=keep)  # fmt: skip
    g.put(made, [*axes[:a], *([1] if keep else []), *axes[a + 1 :]])


def topk(g):
    name, axes = g.value()
    if not axes:
        raise Impossible
    a = g.pick.randrange(len(axes))
    made, index = g.do("TopK", name, g.ints(1), n_out=2, axis=a)
    made = made if g.pick.random() < 0.7 else g.do("Cast", index, to=TensorProto.FLOAT)
    g.put(made, [1 if b == a else n for b, n in enumerate(axes)])


def argmax(g):
    name, axes = g.value()
    if not axes:
        raise Impossible
    a = g.pick.randrange(len(axes))
    # steps of a state that has settled differ by their rounding alone: the largest one is then anybody's
    coarse = g.do("Floor", g.do("Mul", name, g.const(np.float32(16))))
    made = g.do("Cast", g.do("ArgMax", coarse, axis=a, keepdims=1), to=TensorProto.FLOAT)
    g.put(made, [1 if b == a else n for b, n in enumerate(axes)])


def attention(g):
    """Over features, or over time (with a causal mask or without)."""
    name, axes = g.value()
    if len(axes) != 3 or axes[0] != "B":
        raise Impossible
    other = g.do("Transpose", name, perm=[0, 2, 1])
    first, second = (name, other) if g.pick.random() < 0.5 else (other, name)
    n = axes[1] if first == name else axes[2]
    scores = g.do("MatMul", first, second)
    if g.pick.random() < 0.3 and isinstance(n, str):
        scores = g.do("Trilu", scores, upper=0)
    scores = g.do("Softmax", scores, axis=-1)
    made = g.do("MatMul", scores, first)
    g.put(made, axes if first == name else [axes[0], axes[2], axes[1]])


def einsum(g):
    name, axes = g.value()
    if len(axes) != 3:
        raise Impossible
    text, out = g.pick.choice([("abc,abd->abcd", [0, 1, 2, 2]), ("abc,abc->ab", [0, 1]), ("abc,abc->ac", [0, 2]),
                                  ("abc,abc->bc", [1, 2]), ("abc,adc->abd", [0, 1, 1])])  # fmt: skip
    g.put(g.do("Einsum", name, name, equation=text), [axes[i] for i in out])
