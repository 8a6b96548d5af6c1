"""Random frame models, with the truth: which inputs are signals, which are states, and where their next values come out.

No axis is time, though a signal may be many samples under a Conv. Signals, gains and masks go in beside the states of
several cells; what comes out stands in a drawn order, under names that say what they are, that say nothing, or that rhyme.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from graph_nodes import GATES, Nodes
from onnx import TensorProto, helper

__all__ = ["Case", "draw"]

SAMPLES = 12
SAY = ["state", "hidden", "cache", "h", "mem", "buf"]


@dataclass
class Case:
    """A drawn model, the shapes and dtypes of its inputs, and the truth."""

    data: bytes
    inputs: dict[str, tuple]
    pairs: dict[str, str]
    """State input to the output that holds its next value."""
    names: str
    cells: list[str]

    def feeds(self, seed, n_steps=1):
        """`n_steps` frames of every input; the first values of states among them."""
        rng = np.random.default_rng(seed)
        return [
            {
                k: rng.uniform(-1, 1, shape).astype(dtype) if dtype == np.float32 else np.zeros(shape, dtype)
                for k, (shape, dtype) in self.inputs.items()
            }
            for _ in range(n_steps)
        ]


class Frame(Nodes):
    """Grows a frame model cell by cell."""

    def __init__(self, seed):
        super().__init__(seed)
        self.cells = []
        self.inputs, self.pairs = {}, {}
        self.width = self.pick.choice([2, 3, 5])
        self.names = self.pick.choice(["say", "out", "neutral"])
        n_signals = self.pick.choice([1, 1, 2])
        front = random.Random(f"front of {seed}").choice(["values"] * 7 + ["whole", "frames", "inner"])
        if front == "values":
            self.front = type(self).values
            self.signals = [self.port("x", (1, self.width)) for _ in range(n_signals)]
        else:
            self.front = {"whole": type(self).whole, "frames": type(self).means, "inner": type(self).inner}[front]
            self.signals = [self.port("x", (1, 1, SAMPLES))]
            self.cells.append(front)

    def port(self, stem, shape, dtype=np.float32):
        name = f"{stem}{len(self.inputs)}" if self.names != "neutral" else f"i{len(self.inputs)}"
        self.inputs[name] = (shape, dtype)
        return name

    def state(self, shape, dtype=np.float32, stem=None):
        return self.port(stem or self.pick.choice(SAY), shape, dtype)

    def linear(self, value, n, m):
        return self.do("Add", self.do("MatMul", value, self.floats(n, m)), self.floats(m))

    # ---- what the first cell takes: [1, n] and its width --------------------------------------------------

    def values(self):
        """The signals, side by side."""
        if len(self.signals) == 1:
            return self.signals[0], self.width
        return self.do("Concat", *self.signals, axis=1), len(self.signals) * self.width

    def frames(self, kernel, stride):
        """A Conv over the samples: [frames, 1, m]."""
        m = self.pick.choice([2, 3])
        made = self.do("Conv", self.signals[0], self.floats(m, 1, kernel), kernel_shape=[kernel], strides=[stride])
        return self.do("Transpose", self.do("Relu", made), perm=[2, 0, 1]), m

    def whole(self):
        """All samples make one step of a layer."""
        y, hidden = self.layer(*self.frames(SAMPLES, 1))
        return self.do("Reshape", y, self.ints(1, hidden)), hidden

    def means(self):
        """The mean of all frames."""
        made, m = self.frames(4, 2)
        return self.do("ReduceMean", made, axes=[0], keepdims=0), m

    def inner(self):
        """A layer that runs over the frames of one call and goes on in the next; the mean of what it makes."""
        y, hidden = self.layer(*self.frames(4, 2))
        return self.do("Reshape", self.do("ReduceMean", y, axes=[0]), self.ints(1, hidden)), hidden

    # ---- cells: each takes a value [1, n], returns one [1, m] and its width -------------------------------

    def recurrent(self, x, n):
        """An operator over one step."""
        y, hidden = self.layer(self.do("Unsqueeze", x, self.ints(0)), n)
        return self.do("Reshape", y, self.ints(1, hidden)), hidden

    def layer(self, x, n):
        """An operator over all steps of a value [steps, 1, n], its states passed in and out."""
        op, hidden = self.pick.choice(["LSTM", "GRU", "RNN"]), self.pick.choice([2, 3, 5])
        flat = self.pick.random() < 0.5  # the state is [1, hidden], or [1, 1, hidden] as PyTorch has it
        states = [self.state((1, hidden) if flat else (1, 1, hidden)) for _ in range(2 if op == "LSTM" else 1)]
        first = [self.do("Unsqueeze", s, self.ints(0)) if flat else s for s in states]
        weights = [self.floats(1, GATES[op] * hidden, n), self.floats(1, GATES[op] * hidden, hidden)]
        y, *ends = self.do(op, x, *weights, "", "", *first, n_out=1 + len(states), hidden_size=hidden)
        for s, end in zip(states, ends, strict=True):
            self.pairs[s] = self.do("Squeeze", end, self.ints(0)) if flat else end
        return y, hidden

    def elman(self, x, n):
        """x W + h R + b in plain nodes."""
        hidden = self.pick.choice([2, 3, 5])
        h = self.state((1, hidden))
        new = self.do(
            "Tanh", self.do("Add", self.linear(x, n, hidden), self.do("MatMul", h, self.floats(hidden, hidden)))
        )
        self.pairs[h] = new
        return self.do("Relu", new), hidden

    def gated(self, x, n):
        """A minimal gated unit: the old state is blended with the new one."""
        hidden = self.pick.choice([2, 3, 5])
        h = self.state((1, hidden))
        f = self.do(
            "Sigmoid", self.do("Add", self.linear(x, n, hidden), self.do("MatMul", h, self.floats(hidden, hidden)))
        )
        kept = self.do("MatMul", self.do("Mul", f, h), self.floats(hidden, hidden))
        c = self.do("Tanh", self.do("Add", self.linear(x, n, hidden), kept))
        new = self.do("Add", self.do("Mul", f, c), self.do("Mul", self.do("Sub", self.const(np.float32(1)), f), h))
        self.pairs[h] = new
        return self.do("Tanh", new), hidden

    def leak(self, x, n):
        """A leaky sum of a projection; the answer is computed from it."""
        hidden = self.pick.choice([2, 3, 5])
        h = self.state((1, hidden))
        kept = self.do("Mul", h, self.const(self.rng.uniform(0.5, 0.9, hidden).astype(np.float32)))
        new = self.do("Add", kept, self.linear(x, n, hidden))
        self.pairs[h] = new
        return self.do("Tanh", new), hidden

    def cache(self, x, n):
        """The last frames, joined with this one, under a Conv."""
        k = self.pick.choice([2, 3, 4])
        first = self.pick.random() < 0.5  # [1, n, k-1] with the frames behind each other in the last axis
        state = self.state((1, n, k - 1) if first else (1, k - 1, n), stem="cache" if self.names == "say" else None)
        axis = 2 if first else 1
        joined = self.do("Concat", state, self.do("Unsqueeze", x, self.ints(axis)), axis=axis)
        self.pairs[state] = self.do("Slice", joined, self.ints(1), self.ints(2**31), self.ints(axis))
        m = self.pick.choice([2, 3])
        made = joined if first else self.do("Transpose", joined, perm=[0, 2, 1])
        made = self.do("Conv", made, self.floats(m, n, k), kernel_shape=[k])
        return self.do("Relu", self.do("Squeeze", made, self.ints(2))), m

    def delay(self, x, n):
        """The frame before, mixed with this one; what another cell made is no longer that cell's state."""
        x = x if x in self.signals else self.do("Elu", x)
        prev = self.state((1, n), stem="prev")
        self.pairs[prev] = self.do("Identity", x)
        mixed = self.do("Add", self.linear(x, n, n), self.do("Mul", prev, self.floats(n)))
        return self.do("Tanh", mixed), n

    def counter(self, x, n):
        """How many frames there were."""
        count = self.state((1,), np.int64, stem="n")
        self.pairs[count] = self.do("Add", count, self.ints(1))
        scale = self.do("Div", self.const(np.float32(1)), self.do("Cast", self.pairs[count], to=TensorProto.FLOAT))
        return self.do("Mul", x, scale), n

    def residual(self, x, n):
        return self.do("Add", x, self.do("Tanh", self.linear(x, n, n))), n

    def gain(self, x, n):
        """A gain, a mask or a speaker's vector beside the signal."""
        shape = self.pick.choice([(1,), (1, 1), (1, n)])
        side = self.port("gain", shape)
        self.signals.append(side)
        return self.do(self.pick.choice(["Mul", "Add"]), x, side), n

    CELLS = (recurrent, recurrent, elman, gated, leak, cache, delay, counter)

    def build(self):
        """Cells behind each other, then a head on every signal."""
        x, n = self.front(self)
        heads = list(self.signals)
        for _ in range(self.pick.choice([1, 2, 3])):
            cell = self.pick.choice(self.CELLS)
            self.cells.append(cell.__name__)
            x, n = cell(self, x, n)
            if self.pick.random() < 0.3:
                extra = self.pick.choice([type(self).residual, type(self).gain])
                self.cells.append(extra.__name__)
                x, n = extra(self, x, n)
        kind = self.pick.choice(["mask", "add", "plain"])
        answers = []
        for signal in heads:
            shape = self.inputs[signal][0]
            m = self.linear(x, n, shape[-1])
            m = m if len(shape) == 2 else self.do("Reshape", m, self.ints(*shape))
            made = {
                "mask": lambda s, m: self.do("Mul", s, self.do("Sigmoid", m)),
                "add": lambda s, m: self.do("Add", s, m),
            }
            answers.append(made[kind](signal, m) if kind in made else self.do("Identity", m))
        self.cells.append(kind)
        return answers

    def grown(self):
        """The model under drawn names, in a drawn order."""
        answers = self.build()
        values = [*answers, *self.pairs.values()]
        order = self.pick.sample(range(len(values)), len(values)) if self.pick.random() < 0.5 else range(len(values))
        states = {out: name for name, out in self.pairs.items()}
        renamed, outs = {}, []
        for i in order:
            value = values[i]
            if self.names == "neutral":
                name = f"o{len(outs)}"
            elif value in states:
                name = states[value] + self.pick.choice(["_out", "_n"] if self.names == "out" else ["_next", "_new"])
            else:
                name = f"{self.signals[i]}_out" if self.names == "out" else f"y{i}"
            self.nodes.append(helper.make_node("Identity", [value], [name]))
            renamed[value] = name
            dtype = (
                TensorProto.INT64
                if value in states and self.inputs[states[value]][1] == np.int64
                else TensorProto.FLOAT
            )
            outs.append(helper.make_tensor_value_info(name, dtype, None))
        shuffled = self.pick.sample(list(self.inputs), len(self.inputs))
        types = {np.float32: TensorProto.FLOAT, np.int64: TensorProto.INT64}
        ports = [helper.make_tensor_value_info(k, types[self.inputs[k][1]], self.inputs[k][0]) for k in shuffled]
        data = self.model("frame", self.nodes, ports, outs)
        pairs = {name: renamed[out] for name, out in self.pairs.items()}
        return Case(data, self.inputs, pairs, self.names, self.cells)


def draw(seed):
    """The model of a number."""
    return Frame(seed).grown()
