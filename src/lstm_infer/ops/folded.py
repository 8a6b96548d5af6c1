"""Products with a table of waves, folded: a quarter of the multiply-adds.

The rows of a DFT basis are even or odd about their middle, so that what they weigh alike is added or subtracted first; and
row k of the even ones is row M - 1 - k with every other sign turned, so that both are the sum and the difference of two
half products:

    s[j] = x[j] + x[N - j]     d[j] = x[j] - x[N - j]
    a[k] = sum over even j of w[k][j] s[j]     b[k] = sum over odd j     y[k] = a[k] + b[k]     y[M - 1 - k] = a[k] - b[k]

Whether a table is one is seen from its numbers, which have to agree in every bit; a window that is even keeps them so. It is
the one place where the order of a sum is not that of its terms (docs/numerics.md). Terms and rows whose weights are all
zero are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..frozen import frozen
from ..graph.ir import Array
from ..program.arguments import Activation, MatMul
from ..program.builder import Builder
from ..program.views import View

__all__ = ["Fold", "fold", "folded_product"]

_FEWEST = 32
"""Rows and terms below which the product as it stands is as fast."""


@frozen
class Half:
    """The rows first, first + step, ... of a table, all even (sign 1) or all odd (-1) about their middle."""

    sign: int
    first: int
    step: int
    rows: int
    kept: int = -1
    """Row M - 1 - k is row k with the terms of this parity kept and the others turned; -1: the rows do not mirror."""


@frozen
class Fold:
    """How a table [M, N] folds. Of its terms the first `unused` weigh nothing, the next `alone` meet none; those behind
    meet each other from both ends."""

    n: int
    unused: int
    alone: int
    halves: tuple[Half, ...] = ()

    @property
    def pairs(self) -> int:
        return (self.n - self.unused - self.alone) // 2

    def taken(self, sign: int) -> tuple[int, int, int]:
        """(first term, how many stand alone before the pairs, how many behind): odd rows weigh none of those."""
        first, middle = self.unused + self.alone, (self.n - self.unused - self.alone) % 2
        return (self.unused, self.alone, middle) if sign > 0 else (first, 0, 0)

    def weights(self, w: Array, half: Half) -> Array:
        """The rows of a half, without the terms that were added to others."""
        first, before, behind = self.taken(half.sign)
        return w[half.first :: half.step][: half.rows, first : first + before + self.pairs + behind]


def fold(w: Array) -> Fold | None:
    """How a table of weights [M, N], float32, folds; None where it does not."""
    m, n = w.shape
    if m < _FEWEST or n < _FEWEST:
        return None
    unused = int(not w[:, 0].any())
    return _fold(w, unused, 0) or (None if unused else _fold(w, 0, 1))


def _fold(w: Array, unused: int, alone: int) -> Fold | None:
    m, n = w.shape
    met = w[:, unused + alone :]
    if not any((met[0] == sign * met[0, ::-1]).all() for sign in (1, -1)):  # what most weights show soon
        return None
    even, odd = (met == met[:, ::-1]).all(1), (met == -met[:, ::-1]).all(1) & ~w[:, :alone].any(1)
    f = Fold(n, unused, alone)
    halves = [_mirrored(f.weights(w, half), half) for half in _halves(m, even, odd)]
    return Fold(n, unused, alone, tuple(halves)) if halves else None


def _halves(m: int, even: Any, odd: Any) -> list[Half]:
    """The even and the odd rows: one kind alone, in turns, or one behind the other; none where neither."""
    spans = [((0, 1, m), (m, 1, 0)), ((0, 2, (m + 1) // 2), (1, 2, m // 2))]
    for only in (~odd, ~even):  # rows that cannot be of the other kind; rows of zeros are of both
        ends = np.flatnonzero(only)
        cuts = (int(ends[0]), int(ends[-1]) + 1) if ends.size else ()
        spans += [((0, 1, cut), (cut, 1, m - cut)) for cut in cuts]
    for one, other in spans:
        for signs in ((1, -1), (-1, 1)):
            halves = [Half(sign, *span) for sign, span in zip(signs, (one, other), strict=True) if span[2]]
            if all((even if h.sign > 0 else odd)[h.first :: h.step][: h.rows].all() for h in halves):
                return halves
    return []


def _mirrored(u: Any, half: Half) -> Half:
    """The half, with what is seen of its rows from the end."""
    for parity in (0, 1):
        kept, turned = u[:, parity::2], u[:, 1 - parity :: 2]
        if half.rows >= _FEWEST and (kept == kept[::-1]).all() and (turned == -turned[::-1]).all():
            return Half(half.sign, half.first, half.step, half.rows, parity)
    return half


def folded_product(b: Builder, x: View, w: Array, f: Fold, y: View, keep: Any) -> None:
    """y [n, M, positions] = w x, x [n, positions, N] any view. keep: the array whose table this is."""
    n, positions = x.shape[:2]

    def made(half: Half, s: View, columns: slice, rows: int) -> View:
        k = len(range(s.shape[1])[columns])
        taken = s.part(1, columns.start or 0, k, columns.step or 1)

        def pack() -> Array:
            u = np.ascontiguousarray(f.weights(w, half)[:rows, columns], np.float32)
            return _core.pack_f32(u, gates=1, n_units=rows, k=k, gate_stride=0, unit_stride=k, k_stride=1)

        weights = b.packed(("folded", id(keep), half, columns.start, columns.step), pack, keep)
        out = b.alloc((rows, n, positions))
        args = MatMul(
            x=taken, w=weights, bias=None, y=out, n=s.shape[0], k=k, m=rows,
            x_row=taken.strides[0], x_k=taken.strides[1], y_row=1, y_col=n * positions, act=Activation(),
        )  # fmt: skip
        b.emit("matmul_f32", args)
        return out.transpose((1, 0, 2))

    met = _met(b, x, f)
    for half in f.halves:
        s = met[half.sign]
        out = y.part(1, half.first, half.rows, half.step)
        if half.kept < 0:
            b.copy(out, made(half, s, slice(None), half.rows))
            continue
        pairs = half.rows // 2
        kept = made(half, s, slice(half.kept, None, 2), half.rows - pairs)
        turned = made(half, s, slice(1 - half.kept, None, 2), pairs)
        both = out.part(1, 0, pairs), out.part(1, half.rows - 1, pairs, -1)
        b.maps([kept.part(1, 0, pairs), turned], _SUM_AND_DIFFERENCE, both)
        if half.rows % 2:  # the middle one mirrors itself: what would be turned weighs nothing
            b.copy(out.part(1, pairs, 1), kept.part(1, pairs, 1))


_SUM_AND_DIFFERENCE = [("ADD", 0, 1), ("SUB", 0, 1)]


def _met(b: Builder, x: View, f: Fold) -> dict[int, View]:
    """[n * positions, terms] for even and for odd rows: terms that meet added or subtracted, and those alone."""
    n, positions, _ = x.shape
    found, between = {}, []
    for sign in (1, -1):
        first, before, behind = f.taken(sign)
        out = b.alloc((n, positions, before + f.pairs + behind))
        for at, count in ((0, before), (before + f.pairs, behind)):
            b.copy(out.part(2, at, count), x.part(2, first + at, count))
        found[sign] = b.reshape(out, (n * positions, out.shape[2]))
        between.append(out.part(2, before, f.pairs))
    ends = x.part(2, f.unused + f.alone, f.pairs), x.part(2, f.n - 1, f.pairs, -1)
    b.maps(ends, _SUM_AND_DIFFERENCE, between)
    return found
