"""DynamicQuantizeLSTM-1 of com.microsoft: LSTM with 8-bit weights, its inputs quantised as they come.

    W [D, I, 4H]   R [D, H, 4H]   scales and zero points [D] or [D, 4H], the other inputs as LSTM has them

X of a direction is quantised to uint8 by the range of all of it (as DynamicQuantizeLinear), H by its range at every
step; sums of integers are exact, gates are computed in float32 as LSTM does. Scales span the batch and the sequence, so
the result depends on how a sequence is cut: a stream runs one step at a time.
Refused: weights that are computed, streaming with sequence_lens.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import Activation
from ..program.builder import Builder
from ..program.calls import LoopCall, window
from ..program.views import Buffer, View
from . import activation, recurrent
from .elementwise import Formula, apply
from .qlinear import dynamic_left
from .quant import exact_product, get, integers, range_of, round_to
from .recurrent import Sizes, activations, clip, directions
from .registry import Op, attr, find, need, register, unsupported

__all__: list[str] = []


def sizes(node: Node, ins: list[Any]) -> Sizes:
    """Extents, with every input checked against them."""
    x, w, r = (need(node, ins, i).shape for i in range(3))
    D = len(directions(node))
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        raise ShapeError(f"{node}: X, W and R take 3 axes, got {list(x)}, {list(w)}, {list(r)}")
    s = Sizes(x[0], x[1], x[2], r[1], D)
    if attr(node, "hidden_size", s.H) != s.H:
        raise ShapeError(f"{node}: hidden_size is {attr(node, 'hidden_size')}, R has the shape {list(r)}")
    wanted: list[tuple[int, str, tuple[int, ...]]] = [
        (1, "W", (D, s.I, 4 * s.H)), (2, "R", (D, s.H, 4 * s.H)), (3, "B", (D, 8 * s.H)), (4, "sequence_lens", (s.B,)),
        (5, "initial_h", (D, s.B, s.H)), (6, "initial_c", (D, s.B, s.H)), (7, "P", (D, 3 * s.H)),
    ]  # fmt: skip
    for index, name, shape in wanted:
        fact = get(ins, index)
        if fact is not None and fact.shape != shape:
            raise ShapeError(f"{node}: {name} takes {list(shape)}, got {list(fact.shape)}")
    for index in (8, 9, 10, 11):
        shape = need(node, ins, index).shape
        if shape not in ((D,), (D, 4 * s.H)):
            raise ShapeError(f"{node}: input {index} takes [{D}] or [{D}, {4 * s.H}], got {list(shape)}")
    return s


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    s = sizes(node, ins)
    activations(node)
    clip(node)
    for index in (1, 2):
        if need(node, ins, index).const is None:
            raise unsupported(node, "weights computed from the data")
    dtype = need(node, ins, 0).dtype
    return [Fact((s.T, s.D, s.B, s.H), dtype), *(Fact((s.D, s.B, s.H), dtype) for _ in range(2))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return recurrent.flow(node, ins, outs)


def _parts(node: Node, ins: list[Any], d: int, index: int) -> tuple[Any, Any, Any]:
    """Weights, scale and zero point of one direction; index 1: W, 2: R."""
    at = 8 + 2 * (index - 1)
    scale, zero = (np.asarray(need(node, ins, i)[d]) for i in (at, at + 1))
    return need(node, ins, index)[d], scale.astype(np.float32), zero


def _product(x: Any, w: Any, scale: Any, zero: Any) -> Any:
    a_scale, a_zero = range_of(x)
    total = integers(round_to(x / a_scale, a_zero, np.uint8), a_zero) @ integers(w, zero)
    return total.astype(np.float32) * (a_scale * scale)


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    s = sizes(node, ins)
    given: Any = need(node, ins, 0)
    lens: Any = get(ins, 4)
    lens = np.full(s.B, s.T) if lens is None else lens
    if lens.size and (lens.min() < 0 or lens.max() > s.T):
        raise ShapeError(f"{node}: a sequence length lies outside 0..{s.T}")
    Y = np.zeros((s.T, s.D, s.B, s.H), np.float32)
    last = np.zeros((2, s.D, s.B, s.H), np.float32)
    rows = np.arange(s.B)
    for d, backwards in enumerate(directions(node)):
        bias = np.zeros(8 * s.H, np.float32) if get(ins, 3) is None else get(ins, 3)[d]
        P = np.zeros(3 * s.H, np.float32) if get(ins, 7) is None else get(ins, 7)[d]
        h, c = (np.zeros((s.B, s.H), np.float32) if get(ins, i) is None else get(ins, i)[d] for i in (5, 6))
        steps = int(lens.max(initial=0))
        order = np.arange(steps)[:, None]
        order = np.where(order < lens, lens - 1 - order, order) if backwards else np.broadcast_to(order, (steps, s.B))
        x = given[order, rows]
        zx = _product(x.reshape(-1, s.I), *_parts(node, ins, d, 1)).reshape(steps, s.B, -1) if x.size else x
        acts, seen = activations(node)[d], h  # a row that has ended counts as zeros in the range of H
        for step in range(steps):
            z = zx[step] + _product(seen, *_parts(node, ins, d, 2)) + (bias[: 4 * s.H] + bias[4 * s.H :])
            zi, zo, zf, zc = np.split(z, 4, axis=1)
            pi, po, pf = np.split(P, 3)
            i = activation.apply(acts[0], recurrent.limited(node, zi + pi * c))
            forget = activation.apply(acts[0], recurrent.limited(node, zf + pf * c))
            f = 1 - i if attr(node, "input_forget", 0) else forget
            new_c = f * c + i * activation.apply(acts[1], recurrent.limited(node, zc))
            o = activation.apply(acts[0], recurrent.limited(node, zo + po * new_c))
            live = (step < lens)[:, None]
            h, c = np.where(live, o * activation.apply(acts[2], new_c), h), np.where(live, new_c, c)
            seen = np.where(live, h, 0)
            for row in np.flatnonzero(live):
                Y[order[step, row], d, row] = h[row]
        done = (lens > 0)[:, None]
        last[0, d], last[1, d] = np.where(done, h, 0), np.where(done, c, 0)
    return [np.asarray(a, given.dtype) for a in (Y, *last)]


def lower(node: Node, b: Builder) -> None:
    s = sizes(node, [b.fact(name) if name else None for name in node.inputs])
    if b.optional(node, 4):
        if b.carried(node, "h0") is not None:
            raise unsupported(node, "a stream with sequence_lens")
        b.host(node, find(node).evaluate)
        return
    consts = [b.const_of(name) if name else None for name in node.inputs]
    if any(consts[i] is None for i in (1, 2, 8, 9, 10, 11)):
        raise unsupported(node, "weights computed from the data")
    x = b.f32(b.view(node.inputs[0]))
    y = b.new(node.outputs[0]) if b.wanted(node, 0) else None
    finals: list[list[View]] = [[], []]
    for d, backwards in enumerate(directions(node)):
        memory = []
        for which, what in enumerate("hc"):
            name = b.optional(node, 5 + which)
            init = b.f32(b.view(name)).part(0, d, 1).drop(0) if name else None
            memory.append(b.carry(node, f"{what}{d}", init, (s.B, s.H)))
            finals[which].append(memory[-1])
        _direction(node, b, s, d, backwards, consts, x, y, memory[0], memory[1])
    for which, parts in enumerate(finals):
        if not b.wanted(node, 1 + which):
            continue
        if len(parts) == 1:
            b.bind(node.outputs[1 + which], parts[0].add_axis(0))
        else:
            whole = b.new(node.outputs[1 + which])
            for d, part in enumerate(parts):
                b.copy(whole.part(0, d, 1).drop(0), part)


def _direction(
    node: Node,
    b: Builder,
    s: Sizes,
    d: int,
    backwards: bool,
    consts: list[Any],
    x: View,
    y: View | None,
    h: View,
    c: View,
) -> None:
    """All steps of one direction: h and c are updated in place."""
    if s.T == 0 or s.B == 0:
        return
    key = ("qlstm", d, *map(id, consts[1:3]), *map(id, consts[8:12]))

    def known(index: int) -> tuple[Array, View]:
        """Weights minus their zero point, and their scale as a row."""
        w, scale, zero = _parts(node, consts, d, index)
        row = b.packed((*key, index, "scale"), lambda: np.broadcast_to(scale, (4 * s.H,)).copy(), consts)
        return np.asarray(w.astype(np.int32) - zero.astype(np.int32)), row

    def product(value: View, index: int, rows: tuple[int, ...]) -> tuple[View, View, View]:
        """Exact sums, the scale of the left side, the scale of the right side."""
        w, row = weights[index]
        left, scale = dynamic_left(b, value)
        return exact_product(b, left, None, w, (*key, index), consts, (*rows, 4 * s.H)), scale, row

    weights = {index: known(index) for index in (1, 2)}
    total, scale, row = product(x, 1, (s.T, s.B))
    zx = b.alloc((s.T, s.B, 4 * s.H))
    apply(b, ("MUL", 0, ("MUL", 1, 2)), [total, scale, row], zx)
    bias = _bias(node, b, s, d)
    peephole = b.f32(b.view(node.inputs[7])).part(0, d, 1).drop(0) if b.optional(node, 7) else None

    def step(zx_now: View, y_now: View | None) -> None:
        total, scale, row = product(h, 2, (s.B,))
        z = b.alloc((s.B, 4 * s.H))
        made: Formula = ("ADD", 3, ("MUL", 0, ("MUL", 1, 2)))
        views = [total, scale, row, zx_now]
        apply(b, made if bias is None else ("ADD", made, 4), [*views, *([] if bias is None else [bias])], z)
        _cell(node, b, s, activations(node)[d], z, peephole, h, c)
        if y_now is not None:
            b.copy(y_now, h)

    mine = None if y is None else y.part(1, d, 1).drop(1)
    if s.T == 1:
        step(zx.drop(0), None if mine is None else mine.drop(0))
        return
    into, zx_now = window(zx, 0, backwards, written=False)
    slices, y_now = [into], None
    if mine is not None:
        out, y_now = window(mine, 0, backwards, written=True)
        slices.append(out)
    with b.nested() as body:
        step(zx_now, y_now)
    trips = b.scalar(s.T, np.int64)
    b.add(LoopCall(body, Buffer("arena", 8), trips, None, None, s.T, slices, str(node)))


def _bias(node: Node, b: Builder, s: Sizes, d: int) -> View | None:
    """Both biases of one direction in one row."""
    if not b.optional(node, 3):
        return None
    whole = b.f32(b.view(node.inputs[3])).part(0, d, 1).drop(0)
    bias = b.alloc((4 * s.H,))
    apply(b, ("ADD", 0, 1), [whole.part(0, 0, 4 * s.H), whole.part(0, 4 * s.H, 4 * s.H)], bias)
    return bias


def _cell(
    node: Node, b: Builder, s: Sizes, acts: list[Activation], z: View, peephole: View | None, h: View, c: View
) -> None:
    """Gates i o f c from z; c and h move on."""
    limit = clip(node)

    def gate(number: int, act: Activation, peep: int) -> View:
        views = [z.part(1, number * s.H, s.H)]
        value: Formula = 0
        if peephole is not None and peep >= 0:
            views += [peephole.part(0, peep * s.H, s.H), c]
            value = ("ADD", 0, ("MUL", 1, 2))
        if limit:
            value = ("MIN", ("MAX", value, -limit), limit)
        out = b.alloc((s.B, s.H))
        apply(b, activation.formula(act, value), views, out)
        return out

    i, g = gate(0, acts[0], 0), gate(3, acts[1], -1)
    if attr(node, "input_forget", 0):
        apply(b, ("ADD", ("MUL", ("SUB", 1.0, 0), 2), ("MUL", 0, 1)), [i, g, c], c)
    else:
        f = gate(2, acts[0], 2)
        apply(b, ("ADD", ("MUL", 3, 2), ("MUL", 0, 1)), [i, g, c, f], c)
    o = gate(1, acts[0], 1)
    apply(b, ("MUL", 0, activation.formula(acts[2], 1)), [o, c], h)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """Some calls of NumPy for each step."""
    x: tuple[int, ...] = need(node, ins, 0).shape
    r: tuple[int, ...] = need(node, ins, 2).shape
    return x[0] * r[0] * 200_000 + x[0] * x[1] * prod(r) * 4


register(
    Op("DynamicQuantizeLSTM", infer, evaluate, flow, lower, work=_work, domain="com.microsoft", inputs=(12, 12), stepwise=True,
       holds=recurrent.holds,
        note="weights must be known; a stream runs one step at a time")
)  # fmt: skip
