"""The constants of one model: packed weights and tables, kept once for every plan and stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from .ir import Array
from .views import Buffer, View, dense_strides, storage

__all__ = ["ConstStore"]


class ConstStore:
    """Arrays by key. Their addresses are given relative to one anchor, which is base 0 of every plan."""

    def __init__(self) -> None:
        self.anchor = np.zeros(64, np.uint8)
        self._buffers: dict[Hashable, tuple[View, Any]] = {}
        self._lock = threading.RLock()

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return sum(view.buffer.n_bytes for view, _ in self._buffers.values())

    def view(self, array: Array) -> View:
        """The array as a dense constant of its storage dtype."""
        key = ("array", id(array))
        with self._lock:
            found = self._buffers.get(key)
            if found is None:
                held = np.ascontiguousarray(array, storage(array.dtype)).reshape(array.shape)
                found = self._buffers[key] = (self._place(held), array)  # array kept: its id is the key
            return found[0]

    def scalar(self, value: float | int, dtype: Any = np.float32) -> View:
        """One number as a constant of rank 0."""
        array = np.array(value, dtype)
        return self.packed(("scalar", array.tobytes(), array.dtype.str), lambda: array)

    def packed(self, key: Hashable, make: Callable[[], Array], keep: Any = None) -> View:
        """The array that `make` returns, made once for each key. `keep`: objects whose id is part of the key."""
        with self._lock:
            found = self._buffers.get(key)
            if found is None:
                found = self._buffers[key] = (self._place(make()), keep)
            return found[0]

    def _place(self, held: Array) -> View:
        offset = held.ctypes.data - self.anchor.ctypes.data
        buffer = Buffer("const", held.nbytes, offset=offset, keep=held)
        return View(buffer, held.shape, dense_strides(held.shape), held.dtype)
