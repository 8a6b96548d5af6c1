"""The constants of one model: packed weights and tables, shared by every plan and stream that uses them.

The store only knows them: programs hold the views they were given (`Program.consts`). What belongs to sizes that
are no longer run goes with its last program.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..graph.ir import Array
from .views import Buffer, View, dense_strides, storage

__all__ = ["ConstStore"]


class ConstStore:
    """Arrays by key. Their addresses are given relative to one anchor, which is base 0 of every plan."""

    def __init__(self) -> None:
        self.anchor = np.zeros(64, np.uint8)
        self._views: weakref.WeakValueDictionary[Hashable, View] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return sum(view.buffer.n_bytes for view in list(self._views.values()))

    def view(self, array: Array) -> View:
        """The array as a dense constant of its storage dtype."""

        def make() -> Array:
            return np.ascontiguousarray(array, storage(array.dtype)).reshape(array.shape)

        return self.packed(("array", id(array)), make, array)

    def scalar(self, value: float | int, dtype: Any = np.float32) -> View:
        """One number as a constant of rank 0."""
        array = np.array(value, dtype)
        return self.packed(("scalar", array.tobytes(), array.dtype.str), lambda: array)

    def packed(self, key: Hashable, make: Callable[[], Array], keep: Any = None) -> View:
        """The array that `make` returns, made once for each key as long as the view is held by someone.
        `keep`: objects whose id is part of the key; they live as long as the view."""
        with self._lock:
            found = self._views.get(key)
            if found is None:
                found = self._views[key] = self._place(make(), keep)
            return found

    def _place(self, held: Array, keep: Any) -> View:
        offset = held.ctypes.data - self.anchor.ctypes.data
        buffer = Buffer("const", held.nbytes, offset=offset, keep=(held, keep))
        return View(buffer, held.shape, dense_strides(held.shape), held.dtype)
