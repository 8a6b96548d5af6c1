"""Exact sums of products of 8-bit numbers less their zero points.

A known matrix stays in 8 bits where no sum can pass 2^24, as float32 then holds it. Else the float kernel sums blocks of
`BLOCK` terms, each of them below 2^24, and the blocks are added as integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..graph.ir import Array, Node
from ..program.builder import Builder
from ..program.views import View
from .elementwise import Formula, apply
from .int_product import exact_sums
from .matmul import dynamic, product

__all__ = ["BLOCK", "centred", "exact_product", "known_sums", "right_side"]

BLOCK = 256
"""Terms of at most 255 * 255 whose sum stays below 2^24."""


def centred(b: Builder, x: View, zero: View | None) -> View:
    """x - zero point as float32: whole numbers of at most 16 bits."""
    out = b.alloc(x.shape)
    apply(b, 0 if zero is None else ("SUB", 0, 1), [x] if zero is None else [x, zero], out)
    return out


def exact_product(
    b: Builder, x: View, w: View | None, weights: Array | None, key: Any, keep: Any, shape: tuple[int, ...]
) -> View:
    """x [..., K] times w, exact; x and w centred. `weights`: w [K, M] where it is known, else the view `w`.
    float32 where K fits one block, else int32."""
    k = x.shape[-1]
    parts = []
    for start in range(0, max(k, 1), BLOCK):
        n = min(BLOCK, k - start)
        out = b.alloc(shape)
        left = x.part(len(x.shape) - 1, start, n)
        if weights is not None and n:
            product(b, left, _packed(b, weights, (key, start), keep, start, n), None, out, n, weights.shape[1])
        else:
            right = b.const(np.asarray(weights, np.float32)) if w is None else w
            dynamic(b, left, right.part(max(len(right.shape) - 2, 0), start, n), out)
        parts.append(out)
    if len(parts) == 1:
        return parts[0]
    return _added(b, parts)


def _added(b: Builder, parts: list[View]) -> View:
    """The sum of parts that are whole numbers, as int32."""
    total = b.alloc(parts[0].shape, np.int32)
    now, left = parts[:8], parts[8:]
    while True:
        formula: Formula = 0
        for index in range(1, len(now)):
            formula = ("ADD", formula, index)
        apply(b, formula, now, total, ints=True)
        if not left:
            return total
        now, left = [total, *left[:7]], left[7:]


def _packed(b: Builder, weights: Array, key: Any, keep: Any, start: int, k: int) -> View:
    m = weights.shape[1]

    def make() -> Array:
        w = np.ascontiguousarray(weights[start : start + k], np.float32)
        return _core.pack_f32(w, gates=1, n_units=m, k=k, gate_stride=0, unit_stride=1, k_stride=m)

    return b.packed(("integers", *key), make, keep)


def right_side(
    b: Builder, name: str, zero: str, *, transposed: bool = False
) -> tuple[View | None, Array | None, Any, Any]:
    """A right matrix minus its zero point: (view, None, ..) or (None, known array, key, keep).
    transposed: it lies as [M, K], with a zero point for each of M."""
    w, z = b.const_of(name), b.const_of(zero) if zero else None
    if w is not None and w.ndim == 2 and (not zero or z is not None):
        whole = w.T if transposed else w
        shift = 0 if z is None else z.astype(np.int32)
        return None, np.asarray(whole.astype(np.int32) - shift), (id(w), id(z), transposed), (w, z)
    view = b.view(name)
    view = view.transpose((1, 0)) if transposed else view
    return centred(b, view, b.view(zero) if zero else None), None, None, None


def known_sums(
    node: Node,
    b: Builder,
    x: View,
    dtype: Any,
    names: tuple[str, str, str],
    shape: tuple[int, ...],
    *,
    turned: bool = False,
    c: Array | None = None,
) -> View | None:
    """x, values of 8 bits less their zero point, times a known matrix that stays in 8 bits; None where it cannot.

    names: of the matrix, of x's zero point, of its own. c: a row of integers to add.
    """
    w, x_zero, zero = (b.const_of(name) for name in names)
    if w is None or (names[1] and x_zero is None) or (names[2] and zero is None):
        return None
    return exact_sums(b, node, x, np.zeros(1, dtype) if x_zero is None else x_zero, w, zero, shape, turned=turned, c=c)
