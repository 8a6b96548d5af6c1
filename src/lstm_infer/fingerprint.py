"""What has to be the same in two streams, so that one goes on from a snapshot of the other: by name of what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .frozen import frozen
from .graph.digest import digest

__all__ = ["Fingerprint", "Sign", "bound_sign", "check_signs", "rows_of", "sign"]

SIGN_BYTES = 16
"""Of a digest: two values meet by chance once in 2**64."""


@frozen
class Sign:
    """What stands for one thing that has to be the same: one value, or one for each signal (`own`)."""

    values: tuple[bytes, ...]
    own: bool = False


Signs = Mapping[str, Sign]


def sign(*values: Any) -> Sign:
    """The sign of plain values and arrays."""
    return Sign((digest(*values)[:SIGN_BYTES],))


def bound_sign(array: NDArray[Any], axis: int | None, batch: int) -> Sign:
    """Of an input that is bound; `axis`: its batch."""
    if axis is None or array.shape[axis] != batch:
        return sign(array)
    return Sign(tuple(digest(np.asarray(row))[:SIGN_BYTES] for row in np.moveaxis(array, axis, 0)), own=True)


def rows_of(signs: Signs, rows: Iterable[int]) -> dict[str, Sign]:
    """Those of some signals of a batch."""
    rows = tuple(rows)
    return {name: Sign(tuple(s.values[r] for r in rows), True) if s.own else s for name, s in signs.items()}


class Fingerprint:
    """What the streams of a model share, which never changes."""

    def __init__(self, source: tuple[bytes, bytes], precision: str, constants: Mapping[str, NDArray[Any]]) -> None:
        self._source, self._precision, self._constants = source, precision, constants

    @cached_property
    def signs(self) -> dict[str, Sign]:
        """By name; told when somebody first asks, as not every program does."""
        weights, graph = self._source
        found = {"weights": sign(weights), "graph": sign(graph), "precision": sign(self._precision)}
        return found | {f"constant {name}": sign(array) for name, array in self._constants.items()}


_OTHER = {
    "weights": "it has other weights",
    "graph": "it has another graph",
    "precision": "its weights are held in another precision",
    "streaming": "its states, or its time axes, are others (states= and time_axis= of load)",
}
_NAMED = {"input": "bound input", "constant": "constant"}


def check_signs(found: Signs, mine: Signs) -> None:
    """Refuse a snapshot with other signs, by name of what differs."""
    differ = [name for name in {**mine, **found} if found.get(name) != mine.get(name)]
    if not differ:
        return
    texts = [_OTHER.get(name) or _difference(name, name in found, name in mine) for name in differ]
    whose = "belongs to another model" if {"weights", "graph"}.intersection(differ) else "does not fit this stream"
    raise FormatError(f"the snapshot {whose}: {', and '.join(texts)}")


def _difference(label: str, there: bool, here: bool) -> str:
    kind, _, name = label.partition(" ")
    what = f"{_NAMED.get(kind, kind)} {name!r}"
    if there and here:
        return f"it has another value of the {what}"
    return f"it has a {what} that this stream has not" if there else f"it has not the {what} of this stream"
