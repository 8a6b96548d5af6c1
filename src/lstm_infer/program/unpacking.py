"""Weights back from the panels that kernels read (kernels/li_pack.h): what `packing` does, the other way round.

In f32, and in f16 where it holds every weight, what comes back is what was packed. Else it is the rounded weights, and packing
those once more gives the same panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..frozen import frozen
from ..graph.ir import Array
from .packing import HEAD
from .views import View

__all__ = ["Piece", "Unpack"]


@frozen
class Piece:
    """A matrix [gates, units, k] in panels. start: where it begins in each of them; panels from `first` on."""

    view: View
    gates: int
    units: int
    k: int
    panel: int
    """Elements of a panel."""
    start: int = 0
    first: int = 0

    def rows(self, kind: str) -> Array:
        """float32 [gates * units, k]."""
        held: Array = self.view.buffer.keep[0]
        n = -(-self.units // _core.UNITS)
        rows = HEAD + -(-self.k // 4) if kind == "int8" else self.k
        panels = held.reshape(-1, self.panel)[
            self.first : self.first + n, self.start : self.start + self.gates * rows * _core.UNITS
        ]
        parted = panels.reshape(n, rows, self.gates, _core.UNITS)
        whole = self._dequantised(parted) if kind == "int8" else self._units(parted)
        return whole.reshape(self.gates * self.units, self.k)

    def _units(self, parted: Array) -> Array:
        """[panel, row, gate, unit, ...] to [gate, unit, row, ...]."""
        rest = range(4, parted.ndim)
        turned = parted.transpose(2, 0, 3, 1, *rest)
        return turned.reshape(self.gates, -1, *turned.shape[3:])[:, : self.units]

    def _dequantised(self, parted: Array) -> Array:
        scale, zero = parted[:, 0].view(np.float32), parted[:, 2]
        scale, zero = (a.transpose(1, 0, 2).reshape(self.gates, -1)[:, : self.units, None] for a in (scale, zero))
        words = np.ascontiguousarray(parted[:, HEAD:])
        values = self._units(words.view(np.int8).reshape(*words.shape, 4))
        q = values.reshape(self.gates, self.units, -1)[..., : self.k].astype(np.int32) - zero
        return q.astype(np.float32) * scale


@frozen
class Unpack:
    """A weight from the panels it was packed into: the rows of all pieces, one behind the other."""

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: tuple[Piece, ...]
    turned: bool = True
    """False: a matrix [k, units], of which the rows are the columns."""

    def __call__(self) -> Array:
        parts: Sequence[Array] = [piece.rows(self.kind) for piece in self.pieces]
        rows = np.concatenate(parts) if len(parts) > 1 else parts[0]
        whole = np.ascontiguousarray(rows if self.turned else rows.T, self.dtype).reshape(self.shape)
        whole.flags.writeable = False
        return whole
