"""Weights in the layout that kernels read (kernels/li_pack.h), in each of the ways in which they are held."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from ..frozen import frozen
from ..graph.ir import Array

__all__ = ["Ints", "aligned", "layout", "panels", "panels_of_ints", "quantized"]

HEAD = 3
"""Rows before the weights of a panel of int8: scale, sum and zero point."""
TINY = np.float32(2.0**-120)
"""A row of weights that are all smaller is held as 0."""
AT_ONCE = 1 << 15
"""Elements of panels that are rounded at once."""


def aligned(values: Array) -> Array:
    """A copy that begins at a multiple of 64 bytes."""
    out = _core.aligned_empty(values.nbytes).view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def layout(kind: str, parts: Sequence[tuple[int, int]]) -> tuple[int, tuple[int, ...]]:
    """Of matrices (gates, k) one behind the other in each panel: elements of a panel, and where each of them begins in it."""
    ends = [0]
    for gates, k in parts:
        rows = (HEAD + -(-k // 4) if k else 0) if kind == "int8" else k
        ends.append(ends[-1] + gates * rows * _core.UNITS)
    return ends[-1], tuple(ends[:-1])


@frozen
class Ints:
    """A matrix [gates, units, k] of 8-bit weights, each of which stands for (value - zero) * scale."""

    values: Array
    """int8 or uint8, any strides."""
    scale: Array
    """[gates, units]"""
    zero: Array | None = None
    """[gates, units], of the type of the values; None: all 0."""

    @property
    def signed(self) -> Ints:
        """The same in int8."""
        if self.values.dtype == np.int8:
            return self
        zero = np.zeros(self.scale.shape, np.uint8) if self.zero is None else self.zero
        return Ints((self.values ^ np.uint8(128)).view(np.int8), self.scale, (zero ^ np.uint8(128)).view(np.int8))

    @property
    def has_zeros(self) -> bool:
        """Is any zero point of its int8 form other than 0."""
        zero = self.signed.zero
        return zero is not None and bool(zero.any())


def panels(kind: str, parts: Sequence[Array]) -> Array:
    """Packed panels of 16 units of matrices [gates, units, k] with the same units, whose values are taken as float32."""
    panel, starts = layout(kind, [(part.shape[0], part.shape[2]) for part in parts])
    units = parts[0].shape[1]
    if kind == "f32":
        return _packed_f32(parts, panel, starts)
    dtype = np.dtype(np.float16 if kind == "f16" else np.int32)
    out = _core.aligned_empty(-(-units // _core.UNITS) * panel * dtype.itemsize).view(dtype)
    some = _core.UNITS * max(1, AT_ONCE // max(panel, 1))
    for first in range(0, units, some):  # what is in between is never as large as all of it
        cut = [np.asarray(part[:, first : first + some], np.float32) for part in parts]
        made = panels_of_ints([Ints(*quantized(p)) for p in cut]) if kind == "int8" else _packed_f32(cut, panel, starts)
        at = first // _core.UNITS * panel
        out[at : at + made.size] = made
    return out


def panels_of_ints(parts: Sequence[Ints]) -> Array:
    """Packed panels of 16 units of matrices with the same units, as they are."""
    panel, starts = layout("int8", [(part.values.shape[0], part.values.shape[2]) for part in parts])
    out = _core.aligned_empty(-(-parts[0].values.shape[1] // _core.UNITS) * panel * 4).view(np.int32)
    for part, start in zip(parts, starts, strict=True):
        _pack_i8(part.signed, panel, out, start)
    return out


def quantized(values: Array) -> tuple[Array, Array]:
    """(int8, scale of each row): rows along the last axis, symmetric, the largest of a row at 127."""
    most = np.abs(values).max(axis=-1, initial=0)
    scale = (most / np.float32(127)).astype(np.float32)
    scale[most < TINY] = 0
    q = np.rint(values / np.where(scale == 0, np.float32(1), scale)[..., None])
    return np.clip(q, -127, 127).astype(np.int8), scale


def _packed_f32(parts: Sequence[Array], panel: int, starts: Sequence[int]) -> Array:
    out: Array = _core.aligned_empty(-(-parts[0].shape[1] // _core.UNITS) * panel * 4).view(np.float32)
    for part, start in zip(parts, starts, strict=True):
        _pack_f32(np.asarray(part, np.float32), panel, out, start)
    return out


def _pack_i8(part: Ints, panel: int, out: Array, start: int) -> None:
    gates, units, k = part.values.shape
    scale = np.ascontiguousarray(part.scale, np.float32)
    zero = None if part.zero is None else np.ascontiguousarray(part.zero, np.int32)
    _core.pack_i8(np.ascontiguousarray(part.values), scale, zero, gates=gates, n_units=units, k=k, gate_stride=units * k,
                  unit_stride=k, k_stride=1, panel=panel, out=out, out_offset=start)  # fmt: skip


def _pack_f32(values: Array, panel: int, out: Array, start: int) -> None:
    flat = values.ravel(order="K")
    if min(values.strides) < 0 or not np.shares_memory(flat, values):  # not one piece of memory
        values = np.ascontiguousarray(values)
        flat = values.reshape(-1)
    gates, units, k = values.shape
    g, u, s = (stride // 4 if size > 1 else 0 for stride, size in zip(values.strides, values.shape, strict=True))
    _core.pack_f32(flat, gates=gates, n_units=units, k=k, gate_stride=g, unit_stride=u, k_stride=s,
                   panel=panel, out=out, out_offset=start)  # fmt: skip
