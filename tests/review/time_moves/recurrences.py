"""Layers and Scans that carry states along the steps, and what states begin with."""

from __future__ import annotations

import numpy as np
from graph_nodes import BINARY, GATES, Body, Impossible


def recurrent(g):
    name, axes = g.value()
    if len(axes) != 3 or "B" not in axes or not isinstance(axes[2], int):
        t = [n for n in axes if isinstance(n, int)]
        if len(axes) != 3 or "B" not in axes or not t:
            raise Impossible
    t, b = g.time(axes), axes.index("B")
    c = next(a for a in range(3) if a not in (t, b))
    if not isinstance(axes[c], int):
        raise Impossible
    if [t, b, c] != [0, 1, 2]:
        name = g.do("Transpose", name, perm=[t, b, c])
    layer(g, name, axes[t], axes[c], g.pick.choice(["forward", "forward", "forward", "reverse", "bidirectional"]))


def layer(g, name, length, n, direction):
    op, hidden = g.pick.choice(["LSTM", "GRU", "RNN"]), g.pick.choice([1, 2, 4])
    d = 2 if direction == "bidirectional" else 1
    wide = GATES[op] * hidden
    inputs = [name, g.floats(d, wide, n), g.floats(d, wide, hidden)]
    inputs.append(g.floats(d, 2 * wide) if g.pick.random() < 0.5 else "")
    starts = [first_state(g, d, hidden) for _ in range(2 if op == "LSTM" else 1)]
    more = {"linear_before_reset": g.pick.choice([0, 1])} if op == "GRU" else {}
    how = {"hidden_size": hidden, "direction": direction, **more}
    y, *ends = g.do(op, *inputs, "", *starts, n_out=1 + len(starts), **how)
    g.pairs |= {start: end for start, end in zip(starts, ends, strict=True) if start in g.pairs}
    if d == 1:
        g.put(g.do("Squeeze", y, g.ints(1)), [length, "B", hidden])
    else:
        y = g.do("Transpose", y, perm=[0, 2, 1, 3])
        g.put(g.do("Reshape", y, g.ints(0, 0, 2 * hidden)), [length, "B", 2 * hidden])
    if g.pick.random() < 0.3:
        g.put(g.pick.choice(ends), [d, "B", hidden])


def first_state(g, d, hidden):
    """A first state: none, a constant, an input that comes back, computed from the side input or from the sequence."""
    kind = g.pick.choice(["none", "none", "none", "constant", "input", "side", "sequence"])
    if kind == "constant":
        return g.do("Expand", g.floats(d, 1, hidden), shape_of(g, d, hidden))
    if kind == "input" and d == 1:
        name = f"h{len(g.inputs)}"
        g.inputs[name], g.pairs[name] = (1, "B", hidden), ""
        return name
    if kind == "side" and "side" in g.inputs and d == 1:
        made = g.do("MatMul", "side", g.floats(g.inputs["side"][1], hidden))
        return g.do("Unsqueeze", made, g.ints(0))
    if kind == "sequence" and d == 1:
        found = [v for v, axes in g.values if axes == (1, "B", hidden)]
        return g.pick.choice([*found, ""])
    return ""


def shape_of(g, d, hidden):
    """[d, B, hidden] as a value."""
    return g.do("Concat", g.ints(d), g.size("x", g.inputs["x"].index("B")), g.ints(hidden), axis=0)


def along_rows(g):
    """A recurrence that runs over steps and signals as if they were one axis, as after y.view(len(y), 1, -1)."""
    name, axes = g.value()
    if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
        raise Impossible
    g.time(axes)
    n, op, hidden = axes[2], g.pick.choice(["LSTM", "GRU", "RNN"]), g.pick.choice([1, 2, 4])
    rows = g.do("Reshape", name, g.ints(-1, 1, n))
    wide = GATES[op] * hidden
    weights = [g.floats(1, wide, n), g.floats(1, wide, hidden)]
    y = g.do("Squeeze", g.do(op, rows, *weights, hidden_size=hidden), g.ints(1))
    if g.pick.random() < 0.5:
        g.put(y, [axes[:2], 1, hidden])
        return
    sizes = [g.size(name, 0), g.size(name, 1)]
    g.put(g.do("Reshape", y, g.do("Concat", *sizes, g.ints(hidden), axis=0)), [*axes[:2], hidden])


def scan(g):
    """A Scan over the steps whose body holds a cell, a leaky sum, or the step before."""
    name, axes = g.value()
    if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
        raise Impossible
    t, n = g.time(axes), axes[2]
    kind = g.pick.choice(["op", "op", "cell", "leak", "delay"])
    hidden = n if kind in ("leak", "delay") else g.pick.choice([1, 2, 4])
    body = Body(g)
    x, states, results = "step", ["in0"], []
    if kind == "op":
        op = g.pick.choice(["LSTM", "GRU", "RNN"])
        states = ["in0", "in1"] if op == "LSTM" else ["in0"]
        inputs = [body.do("Unsqueeze", x, g.ints(0)), g.floats(1, GATES[op] * hidden, n)]
        inputs += [g.floats(1, GATES[op] * hidden, hidden), "", ""]
        inputs += [body.do("Unsqueeze", s, g.ints(0)) for s in states]
        _, *ends = body.do(op, *inputs, n_out=1 + len(states), hidden_size=hidden)
        results = [body.do("Squeeze", end, g.ints(0)) for end in ends]
    elif kind == "cell":
        both = body.do("MatMul", x, g.floats(n, hidden)), body.do("MatMul", "in0", g.floats(hidden, hidden))
        results = [body.do("Tanh", body.do("Add", *both))]
    elif kind == "leak":
        results = [body.do("Add", body.do("Mul", "in0", g.const(np.float32(0.8))), x)]
    else:
        results = [body.do("Identity", x)]
    read = g.pick.choice(["new", "old", "both"]) if kind != "delay" else g.pick.choice(["old", "both"])
    if kind != "delay" and g.pick.random() < 0.5:  # blended with what was there before
        k = g.floats(1, 1) if g.pick.random() < 0.5 else body.do("Sigmoid", body.do("MatMul", x, g.floats(n, 1)))
        rest = body.do("Sub", g.const(np.float32(1)), k)
        which = range(len(states)) if g.pick.random() < 0.5 else [0]
        for i in which:
            results[i] = body.do("Add", body.do("Mul", k, results[i]), body.do("Mul", rest, states[i]))
    made = {"new": results[0], "old": "in0"}.get(read) or body.do("Sub", results[0], "in0")
    made = body.do("Identity", made)
    results = [body.do("Identity", result) for result in results]
    starts = [state_input(g, ("B", hidden)) for _ in states]
    if t != 0:
        name = g.do("Transpose", name, perm=[1, 0, 2])
    graph = body.graph([*states, x], [*results, made])
    *ends, y = g.do("Scan", *starts, name, n_out=len(states) + 1, body=graph, num_scan_inputs=1)
    g.pairs |= {s: end for s, end in zip(starts, ends, strict=True) if s in g.pairs}
    g.put(y, [axes[t], "B", hidden])


def state_input(g, axes):
    """An input that comes back, or zeros of its shape."""
    if g.pick.random() < 0.7:
        name = f"h{len(g.inputs)}"
        g.inputs[name], g.pairs[name] = axes, ""
        return name
    sizes = [g.size("x", g.inputs["x"].index("B")) if n == "B" else g.ints(n) for n in axes]
    return g.do("Expand", g.const(np.float32(0)), g.do("Concat", *sizes, axis=0))


def state_at_every_step(g):
    """What a recurrence started from, met by all its steps."""
    name, axes = g.value()
    if len(axes) != 3 or not isinstance(axes[2], int) or "B" not in axes[:2]:
        raise Impossible
    t, n, hidden, op = g.time(axes), axes[2], g.pick.choice([1, 2, 4]), g.pick.choice(["GRU", "RNN"])
    if t != 0:
        name = g.do("Transpose", name, perm=[1, 0, 2])
    h = state_input(g, (1, "B", hidden))
    weights = [g.floats(1, GATES[op] * hidden, n), g.floats(1, GATES[op] * hidden, hidden)]
    y, end = g.do(op, name, *weights, "", "", h, n_out=2, hidden_size=hidden)
    if h in g.pairs:
        g.pairs[h] = end
    g.put(g.do(g.pick.choice(BINARY), g.do("Squeeze", y, g.ints(1)), h), [axes[t], "B", hidden])
