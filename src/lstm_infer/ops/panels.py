"""Weights of recurrent layers as their kernels read them: panels of 16 units (kernels/li_pack.h)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import _core
from ..frozen import frozen
from ..graph.ir import Array
from ..program.arguments import Recur, RecurI8
from ..program.builder import Builder
from ..program.views import View

__all__ = ["Packed", "copy_panels", "grouped", "pad16", "peepholes"]


def pad16(n: int) -> int:
    """Units in whole panels."""
    return -(-n // 16) * 16


@frozen
class Packed:
    """Weights of one direction in the kernels' layout."""

    kind: str
    w: View
    r: View
    r_h: View | None
    bias: View
    peephole: View | None
    panel: int
    r_h_panel: int = 0
    quantize: str = "ROW_U8"
    """int8: how the inputs are, one of _core.quantize_codes."""
    weight_zeros: int = 0
    apart: bool = False
    """A call for each row of the batch; X [T, B, I]."""

    def calls(self, args: Recur) -> list[Recur]:
        """The calls of one direction."""
        if self.kind == "int8":
            args = RecurI8(**vars(args), quantize=_core.quantize_codes[self.quantize], weight_zeros=self.weight_zeros)
        return [_row(args, i) for i in range(args.B)] if self.apart else [args]


def _row(args: Recur, i: int) -> Recur:
    """One row of a batch: x [T, B, I], y [T, 1, B, H], h and c [B, H]."""
    c = None if args.c is None else args.c.part(0, i, 1)
    y = None if args.y is None else args.y.part(2, i, 1)
    return replace(args, B=1, x=args.x.part(1, i, 1), h=args.h.part(0, i, 1), c=c, y=y)


def copy_panels(b: Builder, out: View, start: int, panel: int, rows: View | None, gates: int) -> None:
    """rows [G, H, K] into panels [p][K][G][16] that lie `panel` apart from `start` on; missing units are zero."""
    assert rows is not None
    _, H, K = rows.shape
    full, rest = divmod(H, 16)
    by_unit = rows.transpose((1, 2, 0))  # [H, K, G]

    def window(first: int, n: int, units: int) -> View:
        return replace(out, offset=out.offset + start + first * panel, shape=(n, K, gates, units),
                       strides=(panel, gates * 16, 16, 1))  # fmt: skip

    if full:
        k = by_unit.strides
        source = replace(by_unit, shape=(full, K, gates, 16), strides=(16 * k[0], k[1], k[2], k[0]))
        b.copy(window(0, full, 16), source)
    if rest:
        b.copy(window(full, 1, 16), b.scalar(0.0))
        last = by_unit.part(0, full * 16, rest)
        b.copy(window(full, 1, rest), last.transpose((1, 2, 0)).add_axis(0))


def grouped(rows: Array) -> Array:
    """[G, H] to [panel][G][16], zero-filled."""
    g, h = rows.shape
    n = pad16(h) // 16
    out = _core.aligned_empty(n * g * 16 * 4).view(np.float32).reshape(n, g, 16)
    wide = np.zeros((g, n * 16), np.float32)
    wide[:, :h] = rows
    out[...] = wide.reshape(g, n, 16).transpose(1, 0, 2)
    return out


def peepholes(P: Array, H: int) -> Array:
    """[3 H] to rows of whole panels."""
    out = _core.aligned_empty(3 * pad16(H) * 4).view(np.float32).reshape(3, -1)
    out[:, :H] = np.asarray(P, np.float32).reshape(3, H)
    return out
