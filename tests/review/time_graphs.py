"""Random graphs that do all kinds of things with time, most of which no stream can do: drawn from a number.

A value is known by its axes: "B", "T", a length that came of T ("T'3"), a number, or a tuple of these where a Reshape made
one axis of them. A move that the axes do not allow is drawn again; what still does not fit is refused by onnxruntime and
by us.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Case", "draw"]

UNARY = ["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Softplus", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Max", "Min"]
END = 2**63 - 1
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class Case:
    """A drawn model: its bytes, the input's layout, the axes of its inputs and the moves that made it."""

    data: bytes
    batch_first: bool
    inputs: dict[str, tuple]
    pairs: dict[str, str]
    """State input to the output that holds its next value."""
    moves: list[str]
    merged: dict[str, tuple]
    """Axes of outputs in which time is merged with another axis."""

    def feeds(self, seed, batch, steps):
        """Inputs at one size; states are zero."""
        rng = np.random.default_rng([seed, batch, steps])
        shapes = {k: [{"B": batch, "T": steps}.get(n, n) for n in axes] for k, axes in self.inputs.items()}
        return {
            k: (np.zeros(s) if k in self.pairs else rng.uniform(-1, 1, s)).astype(np.float32) for k, s in shapes.items()
        }


class Impossible(Exception):
    """The move does not fit the value."""


class Body:
    """The body of a Scan."""

    def __init__(self, grower):
        self.nodes, self.number = [], len(grower.nodes)

    def do(self, op, *inputs, n_out=1, **attrs):
        outs = [f"b{self.number}_{len(self.nodes)}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, **attrs))
        return outs[0] if n_out == 1 else outs

    def graph(self, inputs, outputs):
        ports = [
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in names] for names in (inputs, outputs)
        ]
        return helper.make_graph(self.nodes, "body", *ports)


class Grower:
    """Grows a graph node by node."""

    def __init__(self, seed):
        self.pick, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.consts, self.moves = [], {}, []
        self.batch_first = self.pick.random() < 0.6
        self.lengths, self.pairs = 0, {}
        axes = ["B", "T"] if self.batch_first else ["T", "B"]
        self.inputs = {"x": (*axes, self.pick.choice([1, 2, 3, 4, 5, 6, 37]))}
        if self.pick.random() < 0.25:
            self.inputs["side"] = ("B", self.pick.choice([self.inputs["x"][2], 2]))
        if self.pick.random() < 0.2:
            self.inputs["u"] = (*axes, self.pick.choice([self.inputs["x"][2], 1]))
        self.values = list(self.inputs.items())

    # ---- nodes ------------------------------------------------------------------------------------------

    def const(self, array):
        name = f"c{len(self.consts)}"
        self.consts[name] = np.asarray(array)
        return name

    def ints(self, *numbers):
        return self.const(np.array(numbers, np.int64))

    def floats(self, *shape):
        return self.const(self.rng.uniform(-0.9, 0.9, shape).astype(np.float32))

    def do(self, op, *inputs, n_out=1, **attrs):
        n = len(self.nodes)
        outs = [f"v{n}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=f"n{n}_{op}", **attrs))
        return outs[0] if n_out == 1 else outs

    def new_length(self):
        self.lengths += 1
        return f"T'{self.lengths}"

    def value(self):
        """Any value, the newest most often."""
        return self.pick.choice(self.values[-3:] + self.values)

    def timed(self):
        name, axes = self.value()
        return name, axes, self.time(axes)

    def time(self, axes):
        found = [a for a, n in enumerate(axes) if isinstance(n, str) and n.startswith("T")]
        if not found:
            raise Impossible
        return self.pick.choice(found)

    def size(self, value, axis):
        """[the extent of an axis]."""
        return self.do("Slice", self.do("Shape", value), self.ints(axis), self.ints(axis + 1), self.ints(0))

    def put(self, name, axes):
        if len(axes) <= 5:
            self.values.append((name, tuple(axes)))

    # ---- moves ------------------------------------------------------------------------------------------

    def unary(self):
        name, axes = self.value()
        self.put(self.do(self.pick.choice(UNARY), name), axes)

    def binary(self):
        name, axes = self.value()
        same = [v for v, a in self.values if a == axes]
        self.put(self.do(self.pick.choice(BINARY), name, self.pick.choice(same)), axes)

    def broadcast(self):
        """With a value of fewer or shorter axes."""
        name, axes = self.value()
        fits = [(v, a) for v, a in self.values if a and len(a) <= len(axes) and all(
            n in (m, 1) for n, m in zip(a[::-1], axes[::-1], strict=False))]  # fmt: skip
        other, _ = self.pick.choice(fits)
        self.put(self.do(self.pick.choice(BINARY), name, other), axes)

    def constant(self):
        name, axes = self.value()
        shape = [n if isinstance(n, int) and self.pick.random() < 0.7 else 1 for n in axes]
        self.put(self.do(self.pick.choice(BINARY), name, self.floats(*shape)), axes)

    def transpose(self):
        name, axes = self.value()
        perm = list(range(len(axes)))
        self.pick.shuffle(perm)
        self.put(self.do("Transpose", name, perm=perm), [axes[p] for p in perm])

    def position(self):
        """A table of positions, cut to the length; or counted."""
        name, axes, t = self.timed()
        n = self.size(name, t)
        if self.pick.random() < 0.5:
            table = self.do("Slice", self.floats(64, 1), self.ints(0), n, self.ints(0))
        else:
            count = self.do(
                "Range", self.const(np.int64(0)), self.do("Squeeze", n, self.ints(0)), self.const(np.int64(1))
            )
            table = self.do("Unsqueeze", self.do("Cast", count, to=TensorProto.FLOAT), self.ints(1))
        table = self.do("Reshape", table, self.ints(*[-1 if a == t else 1 for a in range(len(axes))]))
        self.put(self.do(self.pick.choice(BINARY), name, table), axes)

    def by_length(self):
        name, axes, t = self.timed()
        n = self.do("Cast", self.size(name, t), to=TensorProto.FLOAT)
        self.put(self.do(self.pick.choice(["Div", "Add", "Mul"]), name, n), axes)

    def cut(self):
        name, axes, t = self.timed()
        start, end, step = self.pick.choice([
            (1, END, 1), (0, -1, 1), (2, END, 1), (0, -2, 1), (1, -1, 1), (0, END, 2), (0, 3, 1), (0, 40, 1), (0, 5000, 1),
            (-1, END, 1), (-3, END, 1), (-1, -END, -1), (0, 1, 1), (1, 2, 1), (0, END, 1), (-5000, END, 1), (3, 2**31, 1),
        ])  # fmt: skip
        made = self.do("Slice", name, self.ints(start), self.ints(end), self.ints(t), self.ints(step))
        whole = (start, end, step) == (0, END, 1) or abs(start) == 5000 or end == 5000
        one = (start, end) in ((-1, END), (0, 1), (1, 2))
        length = axes[t] if whole else 1 if one else self.new_length()
        self.put(made, [length if a == t else n for a, n in enumerate(axes)])

    def thin(self):
        """A part of the features."""
        name, axes = self.value()
        found = [a for a, n in enumerate(axes) if isinstance(n, int) and n > 1]
        if not found:
            raise Impossible
        a = self.pick.choice(found)
        made = self.do("Slice", name, self.ints(0), self.ints(axes[a] - 1), self.ints(a))
        self.put(made, [n - 1 if b == a else n for b, n in enumerate(axes)])

    def difference(self):
        name, axes, t = self.timed()
        later = self.do("Slice", name, self.ints(1), self.ints(END), self.ints(t))
        earlier = self.do("Slice", name, self.ints(0), self.ints(-1), self.ints(t))
        length = self.new_length()
        made = self.do("Sub", later, earlier)
        if self.pick.random() < 0.5:  # as long as before: with the first step, or a zero, in front
            first = self.do("Slice", name, self.ints(0), self.ints(1), self.ints(t))
            first = self.do("Mul", first, self.const(np.float32(0))) if self.pick.random() < 0.5 else first
            made, length = self.do("Concat", first, made, axis=t), axes[t]
        self.put(made, [length if a == t else n for a, n in enumerate(axes)])

    def past(self):
        """Behind (or in front of) some steps of zeros, or of itself."""
        name, axes, t = self.timed()
        first = self.do("Slice", name, self.ints(0), self.ints(self.pick.choice([1, 2])), self.ints(t))
        kind = self.pick.choice(["zeros", "own", "behind", "twice", "shift"])
        if kind in ("zeros", "shift"):
            first = self.do("Mul", first, self.const(np.float32(0)))
        parts = {"behind": [name, first], "twice": [name, name]}.get(kind, [first, name])
        made = self.do("Concat", *parts, axis=t)
        length = self.new_length()
        if kind == "shift":
            made, length = self.do("Slice", made, self.ints(0), self.size(name, t), self.ints(t)), axes[t]
        self.put(made, [length if a == t else n for a, n in enumerate(axes)])

    def pad(self):
        name, axes, t = self.timed()
        begin, end = self.pick.choice([(1, 0), (2, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (1, -1), (3, 2), (2, -2)])
        mode = self.pick.choice(["constant", "constant", "constant", "edge", "reflect"])
        pads = [0] * (2 * len(axes))
        pads[t], pads[t + len(axes)] = begin, end
        value = [self.const(np.float32(self.pick.choice([0, 0, 1.5])))] if mode == "constant" else []
        made = self.do("Pad", name, self.ints(*pads), *value, mode=mode)
        length = axes[t] if begin + end == 0 else self.new_length()
        self.put(made, [length if a == t else n for a, n in enumerate(axes)])

    def to_channels(self):
        """A value of three axes as [B, C, T]."""
        name, axes = self.value()
        if len(axes) != 3 or "B" not in axes or not any(isinstance(n, int) for n in axes):
            raise Impossible
        t, b = self.time(axes), axes.index("B")
        c = next(a for a, n in enumerate(axes) if isinstance(n, int))
        perm = [b, c, t]
        name = name if perm == [0, 1, 2] else self.do("Transpose", name, perm=perm)
        return name, [axes[p] for p in perm]

    def conv(self):
        name, (b, c, t) = self.to_channels()
        kernel, dilation, stride = (
            self.pick.choice([1, 2, 3, 5]),
            self.pick.choice([1, 1, 2]),
            self.pick.choice([1, 1, 1, 2]),
        )
        reach = (kernel - 1) * dilation
        begin, end = self.pick.choice(
            [(reach, 0), (reach // 2, reach - reach // 2), (0, 0), (0, reach), (1, 1), (reach, reach)]
        )
        many = self.pick.choice([1, 2, 4])
        grouped = self.pick.random() < 0.2
        weights = self.floats(c if grouped else many, 1 if grouped else c, kernel)
        how = {"auto_pad": "SAME_UPPER"} if self.pick.random() < 0.1 else {"pads": [begin, end]}
        bias = [self.floats(c if grouped else many)] if self.pick.random() < 0.5 else []
        made = self.do("Conv", name, weights, *bias, kernel_shape=[kernel], dilations=[dilation], strides=[stride],
                       group=c if grouped else 1, **how)  # fmt: skip
        same = stride == 1 and (begin + end == reach or "auto_pad" in how)
        self.put(made, [b, c if grouped else many, t if same else self.new_length()])

    def conv2d(self):
        name, (b, c, t) = self.to_channels()
        made = self.do("Unsqueeze", name, self.ints(1))
        begin, end = self.pick.choice([(2, 0), (1, 1), (0, 0)])
        made = self.do("Conv", made, self.floats(2, 1, 1, 3), kernel_shape=[1, 3], pads=[0, begin, 0, end])
        self.put(made, [b, 2, c, t if begin + end == 2 else self.new_length()])

    def unconv(self):
        name, (b, c, _) = self.to_channels()
        kernel, stride = self.pick.choice([(2, 1), (2, 2), (3, 1), (1, 1)])
        pads = self.pick.choice([[0, 0], [0, kernel - 1], [kernel - 1, 0]])
        made = self.do(
            "ConvTranspose", name, self.floats(c, 2, kernel), kernel_shape=[kernel], strides=[stride], pads=pads
        )
        self.put(made, [b, 2, self.new_length()])

    def pool(self):
        name, (b, c, t) = self.to_channels()
        op = self.pick.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
        if op.startswith("Global"):
            self.put(self.do(op, name), [b, c, 1])
            return
        kernel, stride = self.pick.choice([(2, 1), (2, 2), (3, 1), (3, 2)])
        pads = self.pick.choice([[0, 0], [kernel - 1, 0], [1, 1]])
        more = {"ceil_mode": 1} if self.pick.random() < 0.1 else {}
        more |= {"count_include_pad": self.pick.choice([0, 1])} if op == "AveragePool" else {}
        made = self.do(op, name, kernel_shape=[kernel], strides=[stride], pads=pads, **more)
        self.put(
            made,
            [b, c, t if stride == 1 and sum(pads) == kernel - 1 and not more.get("ceil_mode") else self.new_length()],
        )

    def recurrent(self):
        name, axes = self.value()
        if len(axes) != 3 or "B" not in axes or not isinstance(axes[2], int):
            t = [n for n in axes if isinstance(n, int)]
            if len(axes) != 3 or "B" not in axes or not t:
                raise Impossible
        t, b = self.time(axes), axes.index("B")
        c = next(a for a in range(3) if a not in (t, b))
        if not isinstance(axes[c], int):
            raise Impossible
        if [t, b, c] != [0, 1, 2]:
            name = self.do("Transpose", name, perm=[t, b, c])
        self.layer(
            name, axes[t], axes[c], self.pick.choice(["forward", "forward", "forward", "reverse", "bidirectional"])
        )

    def layer(self, name, length, n, direction):
        op, hidden = self.pick.choice(["LSTM", "GRU", "RNN"]), self.pick.choice([1, 2, 4])
        d = 2 if direction == "bidirectional" else 1
        wide = GATES[op] * hidden
        inputs = [name, self.floats(d, wide, n), self.floats(d, wide, hidden)]
        inputs.append(self.floats(d, 2 * wide) if self.pick.random() < 0.5 else "")
        starts = [self.start(d, hidden) for _ in range(2 if op == "LSTM" else 1)]
        more = {"linear_before_reset": self.pick.choice([0, 1])} if op == "GRU" else {}
        how = {"hidden_size": hidden, "direction": direction, **more}
        y, *ends = self.do(op, *inputs, "", *starts, n_out=1 + len(starts), **how)
        self.pairs |= {start: end for start, end in zip(starts, ends, strict=True) if start in self.pairs}
        if d == 1:
            self.put(self.do("Squeeze", y, self.ints(1)), [length, "B", hidden])
        else:
            y = self.do("Transpose", y, perm=[0, 2, 1, 3])
            self.put(self.do("Reshape", y, self.ints(0, 0, 2 * hidden)), [length, "B", 2 * hidden])
        if self.pick.random() < 0.3:
            self.put(self.pick.choice(ends), [d, "B", hidden])

    def start(self, d, hidden):
        """A first state: none, a constant, an input that comes back, computed from the side input or from the sequence."""
        kind = self.pick.choice(["none", "none", "none", "constant", "input", "side", "sequence"])
        if kind == "constant":
            return self.do("Expand", self.floats(d, 1, hidden), self.shape_of(d, hidden))
        if kind == "input" and d == 1:
            name = f"h{len(self.inputs)}"
            self.inputs[name], self.pairs[name] = (1, "B", hidden), ""
            return name
        if kind == "side" and "side" in self.inputs and d == 1:
            made = self.do("MatMul", "side", self.floats(self.inputs["side"][1], hidden))
            return self.do("Unsqueeze", made, self.ints(0))
        if kind == "sequence" and d == 1:
            found = [v for v, axes in self.values if axes == (1, "B", hidden)]
            return self.pick.choice([*found, ""])
        return ""

    def shape_of(self, d, hidden):
        """[d, B, hidden] as a value."""
        return self.do("Concat", self.ints(d), self.size("x", self.inputs["x"].index("B")), self.ints(hidden), axis=0)

    def cache(self):
        """Steps of the past as an input that comes back, in front of a Conv."""
        name, (b, c, t) = self.to_channels()
        kernel = self.pick.choice([2, 3])
        if t != "T":
            raise Impossible
        state = f"h{len(self.inputs)}"
        self.inputs[state] = ("B", c, kernel - 1)
        joined = self.do("Concat", state, name, axis=2)
        self.pairs[state] = self.do("Slice", joined, self.ints(1 - kernel), self.ints(END), self.ints(2))
        self.put(self.do("Conv", joined, self.floats(2, c, kernel), kernel_shape=[kernel]), [b, 2, t])

    def cumsum(self):
        name, axes, t = self.timed()
        how = {"exclusive": self.pick.choice([0, 0, 1]), "reverse": self.pick.choice([0, 0, 0, 1])}
        self.put(self.do("CumSum", name, self.const(np.int64(t)), **how), axes)

    def gather(self):
        name, axes, t = self.timed()
        index = self.pick.choice([-1, -1, 0, 1, -2, [0, 1], [-1], [0], [2, 0]])
        made = self.do("Gather", name, self.const(np.array(index, np.int64)), axis=t)
        middle = [] if isinstance(index, int) else [len(index)]
        self.put(made, [*axes[:t], *middle, *axes[t + 1 :]])

    def reduce(self):
        name, axes = self.value()
        if not axes:
            raise Impossible
        a, keep = self.pick.randrange(len(axes)), self.pick.choice([0, 1])
        op = self.pick.choice(["ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean"])
        made = self.do("ReduceSum", name, self.ints(a), keepdims=keep) if op == "ReduceSum" else self.do(
            op, name, axes=[a], keepdims=keep)  # fmt: skip
        self.put(made, [*axes[:a], *([1] if keep else []), *axes[a + 1 :]])

    def mask(self):
        name, axes = self.value()
        above = self.do("Greater", name, self.const(np.float32(0.1)))
        same = [v for v, a in self.values if a == axes]
        self.put(self.do("Where", above, name, self.pick.choice([*same, self.const(np.float32(-1))])), axes)

    def position_mask(self):
        name, axes, t = self.timed()
        n = self.do("Squeeze", self.size(name, t), self.ints(0))
        count = self.do("Range", self.const(np.int64(0)), n, self.const(np.int64(1)))
        limit = self.pick.choice([self.const(np.int64(3)), self.do("Sub", n, self.const(np.int64(2)))])
        shape = self.ints(*[-1 if a == t else 1 for a in range(len(axes))])
        mask = self.do("Reshape", self.do("Less", count, limit), shape)
        self.put(self.do("Where", mask, name, self.const(np.float32(0.5))), axes)

    def softmax(self):
        name, axes = self.value()
        if not axes:
            raise Impossible
        self.put(self.do(self.pick.choice(["Softmax", "LogSoftmax"]), name, axis=self.pick.randrange(len(axes))), axes)

    def norm(self):
        name, axes = self.value()
        if not axes or not isinstance(axes[-1], int):
            raise Impossible
        self.put(self.do("LayerNormalization", name, self.floats(axes[-1]), axis=-1, epsilon=1e-2), axes)

    def matmul(self):
        name, axes = self.value()
        if len(axes) < 2 or not isinstance(axes[-1], int):
            raise Impossible
        m = self.pick.choice([1, 2, 4])
        self.put(self.do("MatMul", name, self.floats(axes[-1], m)), [*axes[:-1], m])

    def attention(self):
        """Over features, or over time (with a causal mask or without)."""
        name, axes = self.value()
        if len(axes) != 3 or axes[0] != "B":
            raise Impossible
        other = self.do("Transpose", name, perm=[0, 2, 1])
        first, second = (name, other) if self.pick.random() < 0.5 else (other, name)
        n = axes[1] if first == name else axes[2]
        scores = self.do("MatMul", first, second)
        if self.pick.random() < 0.3 and isinstance(n, str):
            scores = self.do("Trilu", scores, upper=0)
        scores = self.do("Softmax", scores, axis=-1)
        made = self.do("MatMul", scores, first)
        self.put(made, axes if first == name else [axes[0], axes[2], axes[1]])

    def einsum(self):
        name, axes = self.value()
        if len(axes) != 3:
            raise Impossible
        text, out = self.pick.choice([("abc,abd->abcd", [0, 1, 2, 2]), ("abc,abc->ab", [0, 1]), ("abc,abc->ac", [0, 2]),
                                      ("abc,abc->bc", [1, 2]), ("abc,adc->abd", [0, 1, 1])])  # fmt: skip
        self.put(self.do("Einsum", name, name, equation=text), [axes[i] for i in out])

    def expand(self):
        """The last, or first, step repeated over the whole length; or features."""
        name, axes, t = self.timed()
        start = self.pick.choice([-1, 0])
        one = self.do("Slice", name, self.ints(start), self.ints(END if start else 1), self.ints(t))
        self.put(self.do("Expand", one, self.do("Shape", name)), axes)

    def tile(self):
        name, axes = self.value()
        a = self.pick.randrange(len(axes)) if axes else 0
        made = self.do("Tile", name, self.ints(*[2 if b == a else 1 for b in range(len(axes))]))
        twice = 2 * axes[a] if isinstance(axes[a], int) else self.new_length()
        self.put(made, [twice if b == a else n for b, n in enumerate(axes)])

    def split(self):
        name, axes = self.value()
        found = [a for a, n in enumerate(axes) if isinstance(n, int) and n > 1]
        if not found:
            raise Impossible
        a = self.pick.choice(found)
        parts = self.do("Split", name, self.ints(1, axes[a] - 1), n_out=2, axis=a)
        self.put(parts[0], [1 if b == a else n for b, n in enumerate(axes)])
        self.put(parts[1], [axes[a] - 1 if b == a else n for b, n in enumerate(axes)])

    def scatter(self):
        """A step overwritten: the first or the last."""
        name, axes = self.value()
        if len(axes) < 2:
            raise Impossible
        at = self.pick.choice([0, -1, 1])
        row = self.do("Gather", name, self.const(np.array([0], np.int64)), axis=0)
        self.put(self.do("ScatterND", name, self.const(np.array([[at]], np.int64)), self.do("Neg", row)), axes)

    def topk(self):
        name, axes = self.value()
        if not axes:
            raise Impossible
        a = self.pick.randrange(len(axes))
        made, index = self.do("TopK", name, self.ints(1), n_out=2, axis=a)
        made = made if self.pick.random() < 0.7 else self.do("Cast", index, to=TensorProto.FLOAT)
        self.put(made, [1 if b == a else n for b, n in enumerate(axes)])

    def argmax(self):
        name, axes = self.value()
        if not axes:
            raise Impossible
        a = self.pick.randrange(len(axes))
        made = self.do("Cast", self.do("ArgMax", name, axis=a, keepdims=1), to=TensorProto.FLOAT)
        self.put(made, [1 if b == a else n for b, n in enumerate(axes)])

    def fold(self):
        """[B, T, n] to rows and back, or half the steps and twice the features, or time and features in one."""
        name, axes = self.value()
        if len(axes) != 3 or not isinstance(axes[2], int):
            raise Impossible
        n, kind = axes[2], self.pick.choice(["rows", "pairs", "flat", "halves", "wrong"])
        if kind == "rows":
            m = self.pick.choice([1, 2, n])
            rows = self.do("MatMul", self.do("Reshape", name, self.ints(-1, n)), self.floats(n, m))
            sizes = [self.size(name, 0), self.size(name, 1)]
            self.put(self.do("Reshape", rows, self.do("Concat", *sizes, self.ints(m), axis=0)), [*axes[:2], m])
        elif kind == "pairs":
            self.put(self.do("Reshape", name, self.ints(0, -1, 2 * n)), [axes[0], self.new_length(), 2 * n])
        elif kind == "flat":
            self.put(self.do("Reshape", name, self.ints(0, -1)), [axes[0], self.new_length()])
        elif kind == "halves":
            if n % 2:
                raise Impossible
            self.put(self.do("Reshape", name, self.ints(0, 0, 2, n // 2)), [*axes[:2], 2, n // 2])
        else:
            sizes = [self.size(name, 1), self.size(name, 0)]
            self.put(self.do("Reshape", name, self.do("Concat", *sizes, self.ints(n), axis=0)), [axes[1], axes[0], n])

    def merge(self):
        """Two axes that stand side by side become one, and stay it: rows, or the features of all steps."""
        name, axes = self.value()
        found = [
            a for a in range(len(axes) - 1) if not isinstance(axes[a], tuple) and not isinstance(axes[a + 1], tuple)
        ]
        if not found or 0 in axes:
            raise Impossible
        a = self.pick.choice(found)
        sizes = [-1 if b == a else 0 if b < a else self.size(name, b + 1) for b in range(len(axes) - 1)]
        parts = [self.ints(n) if isinstance(n, int) else n for n in sizes]
        shape = parts[0] if len(parts) == 1 else self.do("Concat", *parts, axis=0)
        self.put(self.do("Reshape", name, shape), [*axes[:a], (axes[a], axes[a + 1]), *axes[a + 2 :]])

    def along_rows(self):
        """A recurrence that runs over steps and signals as if they were one axis, as after y.view(len(y), 1, -1)."""
        name, axes = self.value()
        if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
            raise Impossible
        self.time(axes)
        n, op, hidden = axes[2], self.pick.choice(["LSTM", "GRU", "RNN"]), self.pick.choice([1, 2, 4])
        rows = self.do("Reshape", name, self.ints(-1, 1, n))
        wide = GATES[op] * hidden
        weights = [self.floats(1, wide, n), self.floats(1, wide, hidden)]
        y = self.do("Squeeze", self.do(op, rows, *weights, hidden_size=hidden), self.ints(1))
        if self.pick.random() < 0.5:
            self.put(y, [axes[:2], 1, hidden])
            return
        sizes = [self.size(name, 0), self.size(name, 1)]
        self.put(self.do("Reshape", y, self.do("Concat", *sizes, self.ints(hidden), axis=0)), [*axes[:2], hidden])

    def state(self, axes):
        """An input that comes back, or zeros of its shape."""
        if self.pick.random() < 0.7:
            name = f"h{len(self.inputs)}"
            self.inputs[name], self.pairs[name] = axes, ""
            return name
        sizes = [self.size("x", self.inputs["x"].index("B")) if n == "B" else self.ints(n) for n in axes]
        return self.do("Expand", self.const(np.float32(0)), self.do("Concat", *sizes, axis=0))

    def scan(self):
        """A Scan over the steps whose body holds a cell, a leaky sum, or the step before."""
        name, axes = self.value()
        if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
            raise Impossible
        t, n = self.time(axes), axes[2]
        kind = self.pick.choice(["op", "op", "cell", "leak", "delay"])
        hidden = n if kind in ("leak", "delay") else self.pick.choice([1, 2, 4])
        body = Body(self)
        x, states, results = "step", ["in0"], []
        if kind == "op":
            op = self.pick.choice(["LSTM", "GRU", "RNN"])
            states = ["in0", "in1"] if op == "LSTM" else ["in0"]
            inputs = [body.do("Unsqueeze", x, self.ints(0)), self.floats(1, GATES[op] * hidden, n)]
            inputs += [self.floats(1, GATES[op] * hidden, hidden), "", ""]
            inputs += [body.do("Unsqueeze", s, self.ints(0)) for s in states]
            _, *ends = body.do(op, *inputs, n_out=1 + len(states), hidden_size=hidden)
            results = [body.do("Squeeze", end, self.ints(0)) for end in ends]
        elif kind == "cell":
            both = body.do("MatMul", x, self.floats(n, hidden)), body.do("MatMul", "in0", self.floats(hidden, hidden))
            results = [body.do("Tanh", body.do("Add", *both))]
        elif kind == "leak":
            results = [body.do("Add", body.do("Mul", "in0", self.const(np.float32(0.8))), x)]
        else:
            results = [body.do("Identity", x)]
        read = self.pick.choice(["new", "old", "both"]) if kind != "delay" else self.pick.choice(["old", "both"])
        if kind != "delay" and self.pick.random() < 0.5:  # blended with what was there before
            k = (
                self.floats(1, 1)
                if self.pick.random() < 0.5
                else body.do("Sigmoid", body.do("MatMul", x, self.floats(n, 1)))
            )
            rest = body.do("Sub", self.const(np.float32(1)), k)
            which = range(len(states)) if self.pick.random() < 0.5 else [0]
            for i in which:
                results[i] = body.do("Add", body.do("Mul", k, results[i]), body.do("Mul", rest, states[i]))
        made = {"new": results[0], "old": "in0"}.get(read) or body.do("Sub", results[0], "in0")
        made = body.do("Identity", made)
        results = [body.do("Identity", result) for result in results]
        starts = [self.state(("B", hidden)) for _ in states]
        if t != 0:
            name = self.do("Transpose", name, perm=[1, 0, 2])
        graph = body.graph([*states, x], [*results, made])
        *ends, y = self.do("Scan", *starts, name, n_out=len(states) + 1, body=graph, num_scan_inputs=1)
        self.pairs |= {s: end for s, end in zip(starts, ends, strict=True) if s in self.pairs}
        self.put(y, [axes[t], "B", hidden])

    def state_at_every_step(self):
        """What a recurrence started from, met by all its steps."""
        name, axes = self.value()
        if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
            raise Impossible
        t, n, hidden, op = self.time(axes), axes[2], self.pick.choice([1, 2, 4]), self.pick.choice(["GRU", "RNN"])
        if t != 0:
            name = self.do("Transpose", name, perm=[1, 0, 2])
        h = self.state((1, "B", hidden))
        weights = [self.floats(1, GATES[op] * hidden, n), self.floats(1, GATES[op] * hidden, hidden)]
        y, end = self.do(op, name, *weights, "", "", h, n_out=2, hidden_size=hidden)
        if h in self.pairs:
            self.pairs[h] = end
        self.put(self.do(self.pick.choice(BINARY), self.do("Squeeze", y, self.ints(1)), h), [axes[t], "B", hidden])

    def ones(self):
        name, axes = self.value()
        found = [a for a, n in enumerate(axes) if n == 1]
        if found and self.pick.random() < 0.6:
            a = self.pick.choice(found)
            self.put(self.do("Squeeze", name, self.ints(a)), [*axes[:a], *axes[a + 1 :]])
        else:
            a = self.pick.randrange(len(axes) + 1)
            self.put(self.do("Unsqueeze", name, self.ints(a)), [*axes[:a], 1, *axes[a:]])

    def concat(self):
        name, axes = self.value()
        found = [(v, a, x) for v, x in self.values for a in range(len(axes)) if len(x) == len(axes) and all(
            n == m or b == a for b, (n, m) in enumerate(zip(x, axes, strict=True)))]  # fmt: skip
        if not found:
            raise Impossible
        other, a, x = self.pick.choice(found)
        both = axes[a] + x[a] if isinstance(axes[a], int) and isinstance(x[a], int) else self.new_length()
        if axes[a] == "B" or x[a] == "B":
            raise Impossible
        self.put(self.do("Concat", name, other, axis=a), [both if b == a else n for b, n in enumerate(axes)])

    def residual(self):
        """A causal Conv around which the signal is led."""
        name, (b, c, t) = self.to_channels()
        kernel = self.pick.choice([2, 3])
        lead = self.pick.choice([kernel - 1, 1])
        padded = self.do("Pad", name, self.ints(0, 0, lead, 0, 0, kernel - 1 - lead))
        made = self.do("Conv", padded, self.floats(c, c, kernel), kernel_shape=[kernel])
        self.put(self.do("Add", name, made), [b, c, t])

    MOVES = (
        unary, binary, broadcast, constant, transpose, position, by_length, cut, thin, difference, past, pad, conv, conv,
        conv2d, unconv, pool, recurrent, recurrent, cumsum, gather, reduce, mask, position_mask, softmax, norm, matmul,
        attention, einsum, expand, tile, split, scatter, topk, argmax, fold, ones, concat, residual, cache, merge, along_rows,
        scan, state_at_every_step,
    )  # fmt: skip

    def grow(self, *moves):
        """One of some moves that fits; nothing where 20 do not."""
        for _ in range(20):
            move = self.pick.choice(moves or self.MOVES)
            before = len(self.nodes), set(self.consts), set(self.inputs)
            try:
                move(self)
            except (Impossible, IndexError):
                del self.nodes[before[0] :]
                for name in set(self.consts) - before[1]:
                    del self.consts[name]
                for name in set(self.inputs) - before[2]:
                    del self.inputs[name], self.pairs[name]
                continue
            self.moves.append(move.__name__)
            return

    def live(self, outputs):
        """The nodes that an output needs: onnxruntime would run the others too."""
        read, kept = set(outputs), []
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                read.update(node.input)
                kept.append(node)
        return kept[::-1]

    def model(self):
        made = [name for name, _ in self.values if name not in self.inputs]
        outputs = dict.fromkeys(
            [*self.pick.choices(made, k=self.pick.choice([1, 1, 2, 3])), made[-1], *self.pairs.values()]
        )
        ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, axes) for k, axes in self.inputs.items()]
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        consts = [numpy_helper.from_array(array, name) for name, array in self.consts.items()]
        graph = helper.make_graph(self.live(outputs), "time", ports, outs, consts)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self.merged = {k: axes for k, axes in self.values if k in outputs and any(isinstance(n, tuple) for n in axes)}
        return model.SerializeToString()


def draw(seed):
    """The model of a number: a few moves around at least one recurrence."""
    g = Grower(seed)
    moves = g.pick.randrange(1, 7)
    at = g.pick.choice([g.pick.randrange(moves), moves - 1])
    for i in range(moves):
        g.grow()
        if i == at:
            g.grow(Grower.recurrent)
    if all(name in g.inputs for name, _ in g.values):
        g.unary()
    data = g.model()
    return Case(data, g.batch_first, g.inputs, g.pairs, g.moves, g.merged)
