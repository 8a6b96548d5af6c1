"""Arrays of signals, each with a batch of one, side by side in a batch, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "one_by_one", "side_by_side"]

Rows = list[NDArray[Any] | None]
"""An output, signal by signal."""


def side_by_side(array: NDArray[Any], axis: int | None, lead: int) -> NDArray[Any]:
    """[N, *frame] as a batch has it; lead: axes in front of those of the plan."""
    if axis is None:
        return np.ascontiguousarray(array[0])
    return np.ascontiguousarray(np.moveaxis(np.squeeze(array, axis + lead + 1), 0, axis + lead))


def one_by_one(array: NDArray[Any] | None, axis: int | None, lead: int, n: int, rows: bool) -> Rows:
    """And back, each with a batch of one. rows: the axis holds the signals of a step, then those of the next one."""
    if array is None or axis is None:
        return [array] * n
    if rows:
        split = array.reshape(*array.shape[:axis], -1, n, *array.shape[axis + 1 :])
        return [np.take(split, k, axis + 1) for k in range(n)]
    front = (slice(None),) * (axis + lead)
    return [array[(*front, slice(k, k + 1))].copy() for k in range(n)]
