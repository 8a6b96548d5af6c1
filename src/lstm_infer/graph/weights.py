"""Constants that kernels read in packed form: held once, packed or as they were.

A walk, a rewrite or an operator takes a `Weight` for the array that it is: shape and dtype are at hand, the content is there
for who asks. Once all that read it have packed it, the array goes, and who asks again gets it unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast

import numpy as np

from .ir import Array, Graph, Node

__all__ = ["MARKS", "SMALL", "Weight", "as_weight", "held_bytes", "hold_weights", "mark"]

SMALL = 4096
"""Bytes below which a constant is not worth it."""

MARKS = ("weight", "const", "array")
"""How what stands for a constant begins."""

_numbers = count()


class Weight:
    """An array [any shape] of float32 or float16 that stands for itself."""

    __slots__ = ("__weakref__", "_again", "_array", "_kinds", "_users", "dtype", "mark", "shape")

    def __init__(self, array: Array, mark: Any = None, users: frozenset[str] = frozenset()) -> None:
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.mark: Any = mark or ("weight", next(_numbers))
        """Stands for it in the keys of what is packed of it."""
        self._array: Array | None = array
        self._again: Callable[[], Array] | None = None
        self._users, self._kinds = users, dict[str, str]()

    @classmethod
    def unpacked(cls, shape: tuple[int, ...], dtype: np.dtype[Any], mark: Any, again: Callable[[], Array]) -> Weight:
        """One that is held packed alone from the beginning."""
        one = cls.__new__(cls)
        one.shape, one.dtype, one.mark = shape, dtype, mark
        one._array, one._again, one._users, one._kinds = None, again, frozenset(), {}
        return one

    @property
    def array(self) -> Array:
        """Its content."""
        array, again = self._array, self._again
        if array is None:
            assert again is not None
            array = again()
        return array

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def held(self) -> Array | None:
        """The array, where it has not gone."""
        return self._array

    @property
    def again(self) -> Callable[[], Array] | None:
        """What makes it again, once it went."""
        return self._again if self._array is None else None

    def packed(self, user: str, kind: str, exact: bool, again: Callable[[], Array]) -> None:
        """A node has packed it in this kind, and `again` unpacks it. The array goes where that loses nothing, or where all
        that read it have it in this kind: packed once more, what was unpacked gives the same panels."""
        if self._array is None:
            return
        self._kinds[user] = kind
        if exact or (self._users <= self._kinds.keys() and set(self._kinds.values()) == {kind}):
            self._again = again  # first: another thread may ask
            self._array = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.array
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.array, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.array,)

    def __repr__(self) -> str:
        return f"Weight({self.dtype}{list(self.shape)})"


def as_weight(constant: object) -> Weight | None:
    """The Weight that stands for a constant, if it is one."""
    return constant if isinstance(constant, Weight) else None


def mark(array: Array | None) -> Any:
    """What stands for a constant in a key, as long as the constant lives."""
    if array is None:
        return None
    weight = as_weight(array)
    return ("array", id(array)) if weight is None else weight.mark


def hold_weights(graph: Graph, weights: Callable[[Node], tuple[int, ...]]) -> None:
    """Make Weights of the constants that are read as weights alone. weights: the inputs of a node that are packed."""
    users: dict[str, set[str]] = {}
    others = {port.name for g in graph.graphs() for port in g.outputs} | set(graph.defaults)
    for node in graph.walk():
        places = weights(node)
        for index, name in enumerate(node.inputs):
            if index in places:
                users.setdefault(name, set()).add(node.name)
            else:
                others.add(name)
    made: dict[int, Weight] = {}
    for g in graph.graphs():
        for name in [name for name in g.consts if name in users and name not in others]:
            array = g.consts[name]
            if as_weight(array) is None and _worth_it(array):
                one = made.setdefault(id(array), Weight(array))
                one._users |= users[name]
                g.consts[name] = cast(Array, one)


def held_bytes(consts: Mapping[str, Array]) -> int:
    """Bytes of constants as they are, without those that are held packed."""
    total = 0
    for array in consts.values():
        weight = as_weight(array)
        held = array if weight is None else weight.held
        total += 0 if held is None else held.nbytes
    return total


def _worth_it(array: Array) -> bool:
    return array.dtype.name in ("float32", "float16") and array.nbytes >= SMALL
