"""Weights in the layout that kernels read (kernels/li_pack.h), in each of the ways in which they are held."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from ..graph.ir import Array

__all__ = ["aligned", "layout", "panels"]


def aligned(values: Array) -> Array:
    """A copy that begins at a multiple of 64 bytes."""
    out = _core.aligned_empty(values.nbytes).view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def layout(parts: Sequence[tuple[int, int]]) -> tuple[int, tuple[int, ...]]:
    """Of matrices (gates, k) one behind the other in each panel: elements of a panel, and where each of them begins in it."""
    ends = [0]
    for gates, k in parts:
        ends.append(ends[-1] + gates * k * _core.UNITS)
    return ends[-1], tuple(ends[:-1])


def panels(kind: str, parts: Sequence[Array]) -> Array:
    """Packed panels of 16 units of matrices [gates, units, k] with the same units.

    kind: "f32" or "f16"; the values of the parts are taken as float32 in either case."""
    panel, starts = layout([(part.shape[0], part.shape[2]) for part in parts])
    out = _core.aligned_empty(-(-parts[0].shape[1] // _core.UNITS) * panel * 4).view(np.float32)
    for part, start in zip(parts, starts, strict=True):
        _pack(part, panel, out, start)
    return aligned(out.astype(np.float16)) if kind == "f16" else out


def _pack(part: Array, panel: int, out: Array, start: int) -> None:
    values = np.asarray(part, np.float32)
    flat = values.ravel(order="K")
    if min(values.strides) < 0 or not np.shares_memory(flat, values):  # not one piece of memory
        values = np.ascontiguousarray(values)
        flat = values.reshape(-1)
    gates, units, k = values.shape
    g, u, s = (stride // 4 if size > 1 else 0 for stride, size in zip(values.strides, values.shape, strict=True))
    _core.pack_f32(flat, gates=gates, n_units=units, k=k, gate_stride=g, unit_stride=u, k_stride=s,
                   panel=panel, out=out, out_offset=start)  # fmt: skip
