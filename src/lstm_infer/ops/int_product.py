"""Products with matrices that a file has in 8 bits: they stay in 8 bits, what they are multiplied with is quantised by the call.

y = sum over k of (x[k] - x zero)(w[k] - w zero) * (x scale * w scale) + bias         sums exact
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import StateError
from ..graph.ir import Array, Node
from ..program.builder import Builder
from ..program.packing import Ints, panels_of_ints
from ..program.precision import LONG_ZEROS
from ..program.views import View
from .matmul import Inputs, Matrix, product, row_bias

__all__ = ["EXACT", "apart", "dynamic_product", "exact_sums", "int_matrix", "signal_axis", "signed_zero"]

EXACT = 1 << 24
"""Whole numbers below it are exact in float32."""


def apart(b: Builder) -> int:
    """Signals of which each keeps to itself: those of a stream; 1 in a run, whose batch is one tensor."""
    return b.signals if b.layout is not None and b.layout.closed else 1


def signed_zero(zero: Array | None) -> int:
    """One zero point in the int8 form of its type."""
    return 0 if zero is None else int(zero.reshape(-1)[0]) - (128 if zero.dtype == np.uint8 else 0)


def _columns(w: Array, scale: Any, zero: Array | None, turned: bool) -> Ints | None:
    """A matrix [K, M] (turned: [M, K]) with scales and zero points for all or for each of M; None where it is none."""
    m, k = w.shape if turned else w.shape[::-1]
    if k > LONG_ZEROS or any(a is not None and a.size not in (1, m) for a in (scale, zero)):
        return None
    scales = np.broadcast_to(scale.reshape(-1), (m,))[None]
    zeros = None if zero is None else np.broadcast_to(zero.reshape(-1), (m,))[None]
    return Ints((w if turned else w.T)[None], scales, zeros)


def int_matrix(b: Builder, node: Node, names: tuple[str, str, str], *, turned: bool = False) -> Matrix | None:
    """A known matrix of 8 bits with its scales and zero points (names: "" where there are none), packed once per model.
    None: not all is known, or it is no matrix that the kernel takes."""
    w, scale, zero = (b.const_of(name) for name in names)
    if w is None or scale is None or (names[2] and zero is None) or w.ndim != 2 or not w.size:
        return None
    return _packed(b, node, _columns(w, scale, zero, turned), w, (w, scale, zero), turned)


def exact_sums(
    b: Builder,
    node: Node,
    x: View,
    x_zero: Array,
    w: Array,
    zero: Array | None,
    shape: tuple[int, ...],
    *,
    turned: bool = False,
    c: Array | None = None,
) -> View | None:
    """x [..., K] w + c, whole numbers in float32; x: values of 8 bits less their zero point. None where a sum may be rounded."""
    ints = _columns(w, np.ones(1, np.float32), zero, turned) if w.ndim == 2 and w.size else None
    if ints is None or x_zero.size != 1 or x_zero.dtype.name not in ("int8", "uint8"):
        return None
    shift = 0 if ints.zero is None else ints.zero.astype(np.int32)[..., None]
    at, limits = int(x_zero.reshape(-1)[0]), np.iinfo(x_zero.dtype)
    most = int(np.abs(ints.values.astype(np.int32) - shift).sum(-1).max()) * max(at - limits.min, limits.max - at)
    if most + (0 if c is None else int(np.abs(c.astype(np.int64)).max(initial=0))) >= EXACT:
        return None
    matrix = _packed(b, node, ints, w, (w, None, zero), turned)
    assert matrix is not None
    out = b.alloc(shape)
    m = shape[-1]
    bias = None if c is None else row_bias(b, ("matrix bias", id(c), m), c, m, c)
    product(b, x, replace(matrix, inputs=Inputs("GIVEN", 1.0, signed_zero(x_zero))), bias, out, x.shape[-1], m)
    return out


def _packed(b: Builder, node: Node, ints: Ints | None, w: Array, keep: Any, turned: bool) -> Matrix | None:
    if ints is None:
        return None
    b.store.keep_ints(node.name, node.op, [w])
    view = b.packed(("int matrix", *map(id, keep), turned), lambda: panels_of_ints([ints]), keep)
    return Matrix(view, "int8", weight_zeros=int(ints.has_zeros))


def signal_axis(node: Node, shape: tuple[int, ...], signals: int, axis: int | None = None) -> int:
    """The axis (this one, or of all but the last) that has a place for each signal of a stream."""
    axes = [a for a, n in enumerate(shape[:-1]) if n == signals and axis in (None, a)]
    if len(axes) != 1:
        raise StateError(
            f"{node} cannot tell {signals} signals apart in {list(shape)}; make {signals} streams of one signal each"
        )
    return axes[0]


def dynamic_product(node: Node, b: Builder, x: View, w: Matrix, bias: View | None, y: View, m: int) -> None:
    """y[..., m] = x[..., k] w + bias with one scale for all of x; in a stream one for what a step has of each signal."""
    k, signals = x.shape[-1], apart(b)
    if signals > 1 and x.size != signals * k:
        axis = signal_axis(node, x.shape, signals)
        for i in range(signals):
            part, to = x.part(axis, i, 1), y.part(axis, i, 1)
            out = to if to.is_dense else b.alloc(to.shape)
            product(b, part, replace(w, inputs=Inputs("ALL_U8")), bias, out, k, m)
            if out is not to:
                b.copy(to, out)
        return
    each = signals > 1 and x.size == signals * k
    product(b, x, replace(w, inputs=Inputs("ROW_U8" if each else "ALL_U8")), bias, y, k, m)
