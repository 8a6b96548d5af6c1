"""DynamicQuantizeLSTM-1 of com.microsoft: LSTM with 8-bit weights, its inputs quantised as they come.

    W [D, I, 4H]   R [D, H, 4H]   scales and zero points [D] or [D, 4H], the other inputs as LSTM has them

X of a direction is quantised to uint8 by the range of all of it (as DynamicQuantizeLinear), H by its range at every
step; sums of integers are exact, gates are computed in float32 as LSTM does. Scales span the batch and the sequence, so
the result depends on how a sequence is cut: a stream runs one step at a time, each signal with scales of its own.
Refused: weights that are computed, streaming with sequence_lens.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.packing import Ints, layout, panels_of_ints
from ..program.precision import LONG_ZEROS
from ..program.views import View
from . import activation, recurrent
from .int_product import apart
from .panels import Packed, grouped, peepholes
from .quant import integers, range_of, round_to
from .recurrent import Sizes, activations, clip, directions
from .registry import Op, attr, find, get, need, register, unsupported

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
    consts = [b.const_of(name) if name else None for name in node.inputs]
    if any(consts[i] is None for i in (1, 2, 8, 9, 10, 11)):
        raise unsupported(node, "weights computed from the data")
    on_host = "sequence_lens" if b.optional(node, 4) else ""
    on_host = on_host or (f"sums of {max(s.I, s.H):,} products" if max(s.I, s.H) > LONG_ZEROS else "")
    if on_host:
        if b.carried(node, "h0") is not None:
            raise unsupported(node, f"a stream with {on_host}")
        b.host(node, find(node).evaluate)
        return
    recurrent.layer(node, b, s, "LSTM", lambda d: _pack(node, b, s, d, consts))


def _ints(consts: list[Any], s: Sizes, d: int, index: int) -> Ints:
    """W (1) or R (2) of one direction, unit by unit."""
    at, shape = 8 + 2 * (index - 1), (4, s.H)
    scale, zero = (np.broadcast_to(consts[i][d], (4 * s.H,)).reshape(shape) for i in (at, at + 1))
    return Ints(consts[index][d].reshape(-1, *shape).transpose(1, 2, 0), scale, zero)


def _pack(node: Node, b: Builder, s: Sizes, d: int, consts: list[Any]) -> Packed:
    """The weights of one direction. In a run a scale spans all that is fed, as the operator says; in a stream what a step
    has of one signal."""
    parts = [_ints(consts, s, d, index) for index in (1, 2)]
    panel, (_, r_at) = layout("int8", [(4, s.I), (4, s.H)])
    key = ("qlstm", d, *(id(consts[i]) for i in (1, 2, 8, 9, 10, 11)))
    whole = b.packed(key, lambda: panels_of_ints(parts), consts)
    b.store.keep_ints(node.name, node.op, consts[1:3])
    signals = apart(b)
    each = signals == s.B > 1
    return Packed(
        "int8", whole, replace(whole, offset=whole.offset + r_at), None, _bias(node, b, s, d), _peephole(node, b, s, d), panel,
        quantize="ROW_U8" if each and s.T == 1 else "ALL_U8",
        weight_zeros=int(any(part.has_zeros for part in parts)), apart=each and s.T > 1,
    )  # fmt: skip


def _bias(node: Node, b: Builder, s: Sizes, d: int) -> View:
    name = b.optional(node, 3)
    bias = b.const_of(name)
    if name and bias is None:
        return recurrent.fed_bias(node, b, s, d, 4)

    def make() -> Array:
        rows = np.zeros((2, 4, s.H), np.float32) if bias is None else np.asarray(bias[d], np.float32).reshape(2, 4, s.H)
        return grouped(rows[0] + rows[1])

    return b.packed(("qlstm bias", d, id(bias), s.H), make, bias)


def _peephole(node: Node, b: Builder, s: Sizes, d: int) -> View | None:
    name = b.optional(node, 7)
    given = b.const_of(name)
    if given is None:
        return recurrent.fed_peephole(node, b, s, d) if name else None
    return b.packed(("qlstm peephole", d, id(given)), lambda: peepholes(given[d], s.H), given)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """Some calls of NumPy for each step."""
    x: tuple[int, ...] = need(node, ins, 0).shape
    r: tuple[int, ...] = need(node, ins, 2).shape
    return x[0] * r[0] * 200_000 + x[0] * x[1] * prod(r) * 4


register(
    Op("DynamicQuantizeLSTM", infer, evaluate, flow, lower, work=_work, domain="com.microsoft", inputs=(12, 12), stepwise=True,
       holds=recurrent.holds, weights=(1, 2), runs="lstm_i8",
        note="weights must be known; a stream runs one step at a time")
)  # fmt: skip
