"""An activation or a copy behind a convolution or a matrix product joins it: conv_f32 and matmul_f32 apply activations
themselves and store to any strides.

Only where the product has no other reader. The result stays the same, bit for bit: `act` of a record is the same function as
the instruction of map_f32 (tests/test_fuse.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .arguments import Activation, Conv, Copy, MatMul
from .calls import AnyCall, Call, MapCall, readers_and_writers
from .views import View, dense_strides

__all__ = ["join_products"]


def join_products(calls: Sequence[AnyCall]) -> list[AnyCall]:
    """The same work in fewer calls."""
    out: list[list[AnyCall]] = [[call] for call in calls]
    readers, writers = readers_and_writers(calls)
    for index, call in enumerate(calls):
        found = _moves(call)
        if found is None or found[0].buffer.kind != "arena" or readers[id(found[0].buffer)] != {index}:
            continue
        view, act, target = found
        made = sorted(set(writers.get(id(view.buffer), [])))
        if not made or made[-1] >= index:
            continue
        products = [p for place in made for p in out[place]]
        reads = [v for p in products for v in p.reads]
        if any(made[0] < w < index for v in reads for w in writers.get(id(v.buffer), [])):
            continue  # what they read is overwritten before the place they would move to
        if any(v.buffer is target.buffer for v in reads):
            continue
        joined = [_joined(p, view, act, target, single=len(products) == 1) for p in products]
        if any(p is None for p in joined):
            continue
        for place in made:
            out[place] = []
        out[index] = [p for p in joined if p is not None]
        for v in reads:
            readers[id(v.buffer)].difference_update(made)
            readers[id(v.buffer)].add(index)
    return [call for part in out for call in part]


def _moves(call: AnyCall) -> tuple[View, Activation, View] | None:
    """(what is read, activation, where it goes) of a call that does nothing else to each element."""
    if isinstance(call, Call) and isinstance(call.args, Copy):
        view, target = call.args.src, call.args.dst
        return (view, Activation(), target) if view.dtype == target.dtype == np.float32 else None
    if not isinstance(call, MapCall) or call.ints or len(call.outs) != 1:
        return None
    target, reg = call.outs[0]
    if reg != len(call.ins) + len(call.ops) - 1 or target.dtype != np.float32:
        return None
    found = _activation(call)
    if found is None or call.ins[found[0]].dtype != np.float32:
        return None
    return call.ins[found[0]], found[1], target


def _number(view: View) -> float | None:
    """The one number that a constant operand repeats."""
    repeats = all(n == 1 or stride == 0 for n, stride in zip(view.shape, view.strides, strict=True))
    if view.buffer.kind != "const" or not repeats or view.dtype != np.float32:
        return None
    return float(view.buffer.keep[0].reshape(-1)[view.offset])


def _activation(call: MapCall) -> tuple[int, Activation] | None:
    """(input, activation) where the program is one."""
    ops, n = call.ops, len(call.ins)
    match ops:
        case [("SIGMOID" | "TANH" | "SOFTPLUS" as name, x)]:
            return x, Activation(name)
        case [("MAX", x, zero)] if zero < n and x != zero and _number(call.ins[zero]) == 0.0:
            return x, Activation("RELU")
        case [("LT", x, zero), ("MUL", a, b), ("SELECT", less, scaled, same)]:
            slope = a if b == x else b
            if (
                (less, scaled, same) != (n, n + 1, x)
                or x not in (a, b)
                or max(x, zero, slope) >= n
                or x in (zero, slope)
            ):
                return None
            factor = _number(call.ins[slope])
            if _number(call.ins[zero]) == 0.0 and factor is not None:
                return x, Activation("LEAKY_RELU", factor)
    return None


def _joined(call: AnyCall, view: View, act: Activation, target: View, *, single: bool) -> Call | None:
    """The product with the activation, stored where the call behind it stored its part."""
    if not isinstance(call, Call) or not isinstance(call.args, (Conv, MatMul)):
        return None
    args = call.args
    if act.name != "NONE" and args.act.name != "NONE":
        return None
    place = _whole(args.y, view, target) if single else _part(args.y, view, target)
    moved = None if place is None else args.stored_to(place)
    if moved is None:
        return None
    return replace(call, args=moved if act.name == "NONE" else replace(moved, act=act))


def _whole(y: View, view: View, target: View) -> View | None:
    """Where y goes if it is all that is moved."""
    if view.size != y.size or view.offset != y.offset:
        return None
    seen = view.reshape(y.shape)
    if seen is None or any(n > 1 and a != b for n, a, b in zip(y.shape, seen.strides, y.strides, strict=True)):
        return None
    return target.reshape(y.shape)


def _part(y: View, view: View, target: View) -> View | None:
    """Where y goes if it is a part, in even steps, of a dense value that is moved whole."""
    if len(view.shape) != len(y.shape) or not view.is_dense or view.offset or view.size * 4 != view.buffer.n_bytes:
        return None
    rest, offset, strides = y.offset, target.offset, []
    for axis, (n, dense) in enumerate(zip(view.shape, dense_strides(view.shape), strict=True)):
        start, rest = divmod(rest, dense) if n > 1 else (0, rest)
        offset += start * target.strides[axis]
        if y.shape[axis] > 1 and y.strides[axis] % dense:
            return None
        strides.append(y.strides[axis] // dense * target.strides[axis] if y.shape[axis] > 1 else 0)
    return replace(target, shape=y.shape, strides=tuple(strides), offset=offset)
