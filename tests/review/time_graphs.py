"""Random graphs that do all kinds of things with time, most of which no stream can do: drawn from a number.

A value is known by its axes: "B", "T", a length that came of T ("T'3"), a number, or a tuple of these where a Reshape made
one axis of them. A move (`time_moves`) that the axes do not allow is drawn again; what still does not fit is refused by
onnxruntime and by us.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from graph_nodes import GATES, Impossible, Nodes
from onnx import TensorProto, helper
from time_moves import MOVES, recurrent, rows, unary

__all__ = ["Case", "draw"]


@dataclass
class Case:
    """A drawn model: its bytes, the input's layout, the axes of its inputs and the moves that made it."""

    data: bytes
    batch_first: bool
    inputs: dict[str, tuple]
    pairs: dict[str, str]
    """State input to the output that holds its next value."""
    moves: list[str]
    seeded: dict[str, str]
    """The same of inputs that were not drawn as states, though a recurrence starts from them and an output holds its end."""

    def feeds(self, seed, batch, steps):
        """Inputs at one size; states are zero."""
        rng = np.random.default_rng([seed, batch, steps])
        shapes = {k: [{"B": batch, "T": steps}.get(n, n) for n in axes] for k, axes in self.inputs.items()}
        return {
            k: (np.zeros(s) if k in self.pairs else rng.uniform(-1, 1, s)).astype(np.float32) for k, s in shapes.items()
        }


class Grower(Nodes):
    """Grows a graph move by move."""

    def __init__(self, seed):
        super().__init__(seed)
        self.moves = []
        self.batch_first = self.pick.random() < 0.6
        self.lengths, self.pairs = 0, {}
        axes = ["B", "T"] if self.batch_first else ["T", "B"]
        self.inputs = {"x": (*axes, self.pick.choice([1, 2, 3, 4, 5, 6, 37]))}
        if self.pick.random() < 0.25:
            self.inputs["side"] = ("B", self.pick.choice([self.inputs["x"][2], 2]))
        if self.pick.random() < 0.2:
            self.inputs["u"] = (*axes, self.pick.choice([self.inputs["x"][2], 1]))
        self.values = list(self.inputs.items())

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

    def grow(self, *moves):
        """One of some moves that fits; nothing where 20 do not."""
        for _ in range(20):
            move = self.pick.choice(moves or MOVES)
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

    def seeded(self, outputs):
        """Inputs that a recurrence starts from as they are, to the output that holds its end."""
        moved = {name: name for name in self.inputs}
        found = {}
        for node in self.nodes:
            if node.op_type in ("Identity", "Unsqueeze", "Squeeze") and node.input[0] in moved:
                moved[node.output[0]] = moved[node.input[0]]
            if node.op_type in GATES:
                ends = zip(node.input[5:], node.output[1:], strict=False)
                found |= {moved[start]: end for start, end in ends if start in moved and end in outputs}
        return {name: end for name, end in found.items() if name not in self.pairs}

    def grown(self):
        """The model, with some of the values and all next states as outputs."""
        made = [name for name, _ in self.values if name not in self.inputs]
        outputs = dict.fromkeys(
            [*self.pick.choices(made, k=self.pick.choice([1, 1, 2, 3])), made[-1], *self.pairs.values()]
        )
        ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, axes) for k, axes in self.inputs.items()]
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        data = self.model("time", self.live(outputs), ports, outs)
        return Case(data, self.batch_first, self.inputs, self.pairs, self.moves, self.seeded(outputs))


def draw(seed):
    """The model of a number: a few moves around at least one recurrence."""
    g = Grower(seed)
    moves = g.pick.randrange(1, 7)
    at = g.pick.choice([g.pick.randrange(moves), moves - 1])
    for i in range(moves):
        g.grow()
        if i == at:
            g.grow(recurrent)
    if all(name in g.inputs for name, _ in g.values):
        unary(g)
    if random.Random(f"end of {seed}").random() < 0.1:  # the last value, and so an output, holds rows
        g.grow(rows)
    return g.grown()
