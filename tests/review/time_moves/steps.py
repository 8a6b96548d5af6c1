"""What looks at the steps of a sequence: where they stand, how many they are, those before and the last one."""

from __future__ import annotations

import numpy as np
from graph_nodes import BINARY, END, Impossible
from onnx import TensorProto


def position(g):
    """A table of positions, cut to the length; or counted."""
    name, axes, t = g.timed()
    n = g.size(name, t)
    if g.pick.random() < 0.5:
        table = g.do("Slice", g.floats(64, 1), g.ints(0), n, g.ints(0))
    else:
        count = g.do("Range", g.const(np.int64(0)), g.do("Squeeze", n, g.ints(0)), g.const(np.int64(1)))
        table = g.do("Unsqueeze", g.do("Cast", count, to=TensorProto.FLOAT), g.ints(1))
    table = g.do("Reshape", table, g.ints(*[-1 if a == t else 1 for a in range(len(axes))]))
    g.put(g.do(g.pick.choice(BINARY), name, table), axes)


def position_mask(g):
    name, axes, t = g.timed()
    n = g.do("Squeeze", g.size(name, t), g.ints(0))
    count = g.do("Range", g.const(np.int64(0)), n, g.const(np.int64(1)))
    limit = g.pick.choice([g.const(np.int64(3)), g.do("Sub", n, g.const(np.int64(2)))])
    shape = g.ints(*[-1 if a == t else 1 for a in range(len(axes))])
    mask = g.do("Reshape", g.do("Less", count, limit), shape)
    g.put(g.do("Where", mask, name, g.const(np.float32(0.5))), axes)


def by_length(g):
    name, axes, t = g.timed()
    n = g.do("Cast", g.size(name, t), to=TensorProto.FLOAT)
    g.put(g.do(g.pick.choice(["Div", "Add", "Mul"]), name, n), axes)


def cut(g):
    name, axes, t = g.timed()
    start, end, step = g.pick.choice([
        (1, END, 1), (0, -1, 1), (2, END, 1), (0, -2, 1), (1, -1, 1), (0, END, 2), (0, 3, 1), (0, 40, 1), (0, 5000, 1),
        (-1, END, 1), (-3, END, 1), (-1, -END, -1), (0, 1, 1), (1, 2, 1), (0, END, 1), (-5000, END, 1), (3, 2**31, 1),
    ])  # fmt: skip
    made = g.do("Slice", name, g.ints(start), g.ints(end), g.ints(t), g.ints(step))
    whole = (start, end, step) == (0, END, 1) or abs(start) == 5000 or end == 5000
    one = (start, end) in ((-1, END), (0, 1), (1, 2))
    length = axes[t] if whole else 1 if one else g.new_length()
    g.put(made, [length if a == t else n for a, n in enumerate(axes)])


def gather(g):
    name, axes, t = g.timed()
    index = g.pick.choice([-1, -1, 0, 1, -2, [0, 1], [-1], [0], [2, 0]])
    made = g.do("Gather", name, g.const(np.array(index, np.int64)), axis=t)
    middle = [] if isinstance(index, int) else [len(index)]
    g.put(made, [*axes[:t], *middle, *axes[t + 1 :]])


def difference(g):
    name, axes, t = g.timed()
    later = g.do("Slice", name, g.ints(1), g.ints(END), g.ints(t))
    earlier = g.do("Slice", name, g.ints(0), g.ints(-1), g.ints(t))
    length = g.new_length()
    made = g.do("Sub", later, earlier)
    if g.pick.random() < 0.5:  # as long as before: with the first step, or a zero, in front
        first = g.do("Slice", name, g.ints(0), g.ints(1), g.ints(t))
        first = constant_as(g, first) if g.pick.random() < 0.5 else first
        made, length = g.do("Concat", first, made, axis=t), axes[t]
    g.put(made, [length if a == t else n for a, n in enumerate(axes)])


def constant_as(g, value):
    """Zeros, or another number, of the shape of a value: known before a call, or computed from it."""
    if len(g.nodes) % 2:
        return g.do("Mul", value, g.const(np.float32(0)))
    return g.do("Expand", g.const(np.float32(0.5 if len(g.nodes) % 3 else 0)), g.do("Shape", value))


def past(g):
    """Behind (or in front of) some steps of zeros, or of itself."""
    name, axes, t = g.timed()
    first = g.do("Slice", name, g.ints(0), g.ints(g.pick.choice([1, 2])), g.ints(t))
    kind = g.pick.choice(["zeros", "own", "behind", "twice", "shift"])
    if kind in ("zeros", "shift"):
        first = constant_as(g, first)
    parts = {"behind": [name, first], "twice": [name, name]}.get(kind, [first, name])
    made = g.do("Concat", *parts, axis=t)
    length = g.new_length()
    if kind == "shift":
        made, length = g.do("Slice", made, g.ints(0), g.size(name, t), g.ints(t)), axes[t]
    g.put(made, [length if a == t else n for a, n in enumerate(axes)])


def pad(g):
    name, axes, t = g.timed()
    begin, end = g.pick.choice([(1, 0), (2, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (1, -1), (3, 2), (2, -2)])
    mode = g.pick.choice(["constant", "constant", "constant", "edge", "reflect"])
    pads = [0] * (2 * len(axes))
    pads[t], pads[t + len(axes)] = begin, end
    value = [g.const(np.float32(g.pick.choice([0, 0, 1.5])))] if mode == "constant" else []
    made = g.do("Pad", name, g.ints(*pads), *value, mode=mode)
    length = axes[t] if begin + end == 0 else g.new_length()
    g.put(made, [length if a == t else n for a, n in enumerate(axes)])


def cumsum(g):
    name, axes, t = g.timed()
    how = {"exclusive": g.pick.choice([0, 0, 1]), "reverse": g.pick.choice([0, 0, 0, 1])}
    g.put(g.do("CumSum", name, g.const(np.int64(t)), **how), axes)


def expand(g):
    """The last, or first, step repeated over the whole length; or features."""
    name, axes, t = g.timed()
    start = g.pick.choice([-1, 0])
    one = g.do("Slice", name, g.ints(start), g.ints(END if start else 1), g.ints(t))
    g.put(g.do("Expand", one, g.do("Shape", name)), axes)


def tile(g):
    name, axes = g.value()
    a = g.pick.randrange(len(axes)) if axes else 0
    made = g.do("Tile", name, g.ints(*[2 if b == a else 1 for b in range(len(axes))]))
    twice = 2 * axes[a] if isinstance(axes[a], int) else g.new_length()
    g.put(made, [twice if b == a else n for b, n in enumerate(axes)])


def scatter(g):
    """A step overwritten: the first or the last."""
    name, axes = g.value()
    if len(axes) < 2:
        raise Impossible
    at = g.pick.choice([0, -1, 1])
    row = g.do("Gather", name, g.const(np.array([0], np.int64)), axis=0)
    g.put(g.do("ScatterND", name, g.const(np.array([[at]], np.int64)), g.do("Neg", row)), axes)
