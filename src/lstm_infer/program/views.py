"""Views: where a value lies in memory. A transposed, sliced or expanded value is a view, not a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..frozen import frozen

__all__ = ["Buffer", "View", "adjoined", "dense_strides", "merge_axes", "storage"]


def storage(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a value is held while a plan runs: every float is computed in float32."""
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a C-ordered array."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


@dataclass(eq=False)
class Buffer:
    """A piece of memory. kind: "const", "state", "arena", "input", "output" or "slice" of a loop (index: which one)."""

    kind: str
    n_bytes: int
    index: int = 0
    offset: int = 0
    keep: Any = field(default=None, repr=False)


@frozen
class View:
    """A strided window on a buffer. offset and strides in elements; stride 0 repeats. version: which of the states that
    follow each other in this memory is meant (program/inplace.py)."""

    buffer: Buffer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    version: int = 0

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def byte_offset(self) -> int:
        return self.offset * self.dtype.itemsize

    @property
    def is_dense(self) -> bool:
        """C order without gaps (axes of extent 1 may have any stride)."""
        want = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != want:
                return False
            want *= size
        return True

    def _at(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> View:
        """Another window on the same memory."""
        return View(self.buffer, shape, strides, self.dtype, offset, self.version)

    def transpose(self, perm: Sequence[int]) -> View:
        return self._at(tuple([self.shape[p] for p in perm]), tuple([self.strides[p] for p in perm]), self.offset)

    def part(self, axis: int, start: int, count: int, step: int = 1) -> View:
        """`count` positions of one axis from `start`, `step` apart (step may be negative)."""
        shape, strides = list(self.shape), list(self.strides)
        last = start + (count - 1) * step
        assert count == 0 or (count > 0 and min(start, last) >= 0 and max(start, last) < shape[axis]), (
            "outside the view"
        )
        shape[axis] = count
        offset = self.offset + (start * strides[axis] if count else 0)
        strides[axis] *= step
        return self._at(tuple(shape), tuple(strides), offset)

    def drop(self, axis: int) -> View:
        """Without an axis of extent 1."""
        shape, strides = self.shape, self.strides
        assert shape[axis] == 1, f"axis {axis} of {shape} is not 1"
        return self._at(shape[:axis] + shape[axis + 1 :], strides[:axis] + strides[axis + 1 :], self.offset)

    def add_axis(self, axis: int) -> View:
        shape, strides = self.shape, self.strides
        return self._at((*shape[:axis], 1, *shape[axis:]), (*strides[:axis], 0, *strides[axis:]), self.offset)

    def expand(self, shape: Sequence[int]) -> View:
        """Broadcast to `shape` (NumPy rules)."""
        lead = len(shape) - len(self.shape)
        strides = [0] * lead
        for size, stride, want in zip(self.shape, self.strides, shape[lead:], strict=True):
            if size != want and size != 1:
                raise ValueError(f"{list(self.shape)} does not broadcast to {list(shape)}")
            strides.append(stride if size == want else 0)
        return self._at(tuple(shape), tuple(strides), self.offset)

    def reshape(self, shape: Sequence[int]) -> View | None:
        """The same elements under another shape, or None where only a copy can do it."""
        if prod(shape) != self.size:
            raise ValueError(f"{list(self.shape)} cannot be reshaped to {list(shape)}")
        if self.size == 0 or self.is_dense:
            return self._at(tuple(shape), dense_strides(shape), self.offset)
        old = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        strides = [0] * len(shape)
        i = j = 0
        while i < len(old):
            ni, nj = i + 1, j + 1
            have, want = old[i][0], shape[j]
            while have != want:
                if have < want:
                    have *= old[ni][0]
                    ni += 1
                else:
                    want *= shape[nj]
                    nj += 1
            for k in range(i, ni - 1):  # the old axes of this group must lie one inside the other
                if old[k][1] != old[k + 1][0] * old[k + 1][1]:
                    return None
            step = old[ni - 1][1]
            for k in range(nj - 1, j - 1, -1):
                strides[k] = step
                step *= shape[k]
            i, j = ni, nj
        return self._at(tuple(shape), tuple(strides), self.offset)


def adjoined(parts: Sequence[View], axis: int) -> View | None:
    """The parts behind each other along an axis as one view, where they lie so in memory already."""
    first = parts[0]
    step = next((v.strides[axis] for v in parts if v.shape[axis] > 1), None)
    if step is None:
        step = parts[1].offset - first.offset if len(parts) > 1 else first.strides[axis]
    at = first.offset
    for part in parts:
        same = part.buffer is first.buffer and part.dtype == first.dtype and part.offset == at
        if not same or (part.shape[axis] > 1 and part.strides[axis] != step):
            return None
        others = zip(part.shape, part.strides, first.strides, strict=True)
        if any(n != 1 and s != t for a, (n, s, t) in enumerate(others) if a != axis):
            return None
        at += part.shape[axis] * step
    shape, strides = list(first.shape), list(first.strides)
    shape[axis], strides[axis] = sum(v.shape[axis] for v in parts), step
    return replace(first, shape=tuple(shape), strides=tuple(strides))


def merge_axes(size: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Fewest axes that walk all operands: drops extent 1, merges axes that lie one inside the other everywhere."""
    out_size: list[int] = []
    out: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(size):
        if n == 1:
            continue
        if out_size and all(o[-1] == s[axis] * n for o, s in zip(out, strides, strict=True)):
            out_size[-1] *= n
            for o, s in zip(out, strides, strict=True):
                o[-1] = s[axis]
        else:
            out_size.append(n)
            for o, s in zip(out, strides, strict=True):
                o.append(s[axis])
    if not out_size:
        return [1], [[1] for _ in strides]
    if len(out_size) > 8:
        raise ValueError(f"an operand of more than 8 axes ({list(size)})")
    return out_size, out
