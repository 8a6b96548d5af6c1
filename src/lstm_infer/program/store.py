"""The constants of one model: packed weights and tables, shared by every plan and stream that uses them.

The store only knows them: programs hold the views they were given (`Program.consts`). What belongs to sizes that
are no longer run goes with its last program.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph.ir import Array, Node
from ..graph.weights import as_weight
from .precision import Held, Precision, decide
from .unpacking import Piece, Unpack
from .views import Buffer, View, dense_strides, storage

__all__ = ["PANEL_DTYPES", "ConstStore", "Panels", "Values"]

Values = Callable[[], Sequence[Array]]
"""Makes what is packed, when it is asked for."""


PANEL_DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "int8": np.dtype(np.int32)}
"""What the elements of packed weights are held as."""


class Panels(NamedTuple):
    """The key of packed weights: how they are held, elements, and what they are made of, in marks and plain values."""

    kind: str
    n: int
    of: tuple[Hashable, ...]


class ConstStore:
    """Arrays by key. Their addresses are given relative to one anchor, which is base 0 of every plan."""

    def __init__(self, precision: Precision | None = None, *, drops: bool = True) -> None:
        self.precision = precision or Precision()
        self._drops = drops
        """May weights that were packed go; not where another model reads them too."""
        self._decided: dict[str, tuple[list[weakref.ref[Array]], Held]] = {}
        self.anchor = np.zeros(64, np.uint8)
        self._views: weakref.WeakValueDictionary[Hashable, View] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()
        self._restored: list[View] = []

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return sum(view.buffer.n_bytes for view in list(self._views.values()))

    @property
    def layers(self) -> dict[str, Held]:
        """By node: how its weights are held, of those that were packed so far."""
        return {name: held for name, (_, held) in list(self._decided.items())}

    def held(
        self, node: str, op: str, weights: Sequence[Array], terms: int, values: Values | None = None, groups: int = 1
    ) -> Held:
        """How the weights of a node are held, decided when they are first seen. values: what is packed of them, where that is
        something else. terms: of one sum; groups: products that the weights are parted into."""
        with self._lock:
            seen, held = self._decided.get(node, ([], None))
            if (
                held is None
                or len(seen) != len(weights)
                or any(r() is not w for r, w in zip(seen, weights, strict=True))
            ):
                held = decide(node, op, self.precision.asked(node), values() if values else weights, terms, groups)
                self._decided[node] = [weakref.ref(w) for w in weights], held
            return held

    def keep_ints(self, node: str, op: str, weights: Sequence[Array]) -> None:
        """The weights of a node are held in the 8 bits in which the file has them."""
        with self._lock:
            if node not in self._decided:
                n = sum(w.size for w in weights)
                held = Held(node, op, "int8", self.precision.asked(node), n, "as in the file")
                self._decided[node] = [weakref.ref(w) for w in weights], held

    def stands(self, node: Node, weight: Array, kind: str, pieces: Sequence[Piece], turned: bool = True) -> None:
        """All of a weight of a node stands in these pieces of packed panels; see Unpack."""
        one = as_weight(weight)
        if self._drops and one is not None:
            exact = kind == "f32" or self.precision.asked(node.name) == "f32"
            again = Unpack(kind, one.shape, one.dtype, tuple(pieces), turned)
            one.packed(node.name, kind, exact, again)

    def decided(self, held: Held, weights: Sequence[Array]) -> None:
        """How the weights of a node are held was decided before."""
        self._decided[held.node] = [weakref.ref(w) for w in weights], held

    def deciding(self) -> dict[str, tuple[list[Array], Held]]:
        """What was decided, and from what."""
        found = {}
        for node, (refs, held) in list(self._decided.items()):
            arrays = [array for array in (ref() for ref in refs) if array is not None]
            if len(arrays) == len(refs):
                found[node] = arrays, held
        return found

    def placed(self, array: Array) -> View:
        """Memory that lies somewhere as a constant."""
        return self._place(array, None)

    def restore(self, key: Panels, view: View) -> None:
        """Packed weights that were made before, and stay as long as the store does."""
        self._views[key] = view
        self._restored.append(view)

    def panels(self) -> dict[Panels, View]:
        """The packed weights that are held."""
        return {key: view for key, view in list(self._views.items()) if isinstance(key, Panels)}

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
