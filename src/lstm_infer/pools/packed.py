"""Whole sequences of a model that does not stream: those of equal sizes are one batch, where signals are seen to stay apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.meeting import meeting_point
from ..analysis.roles import Roles
from ..ops import registry

if TYPE_CHECKING:
    from ..records import OutputInfo

__all__ = ["groups", "pack_axes", "same_bits", "split", "together"]

MOST = 32
"""Sequences of a batch: more make nothing faster, and take more memory."""
MOST_ELEMENTS = 1 << 22
"""Numbers that go into a batch."""

Axes = dict[str, int]


def pack_axes(roles: Roles, names: Sequence[str], outputs: Sequence[OutputInfo]) -> Axes | None:
    """The batch axis of each input and output; None: sequences are run one by one."""
    if roles.walkable or roles.batch_size is not None or any(name not in roles.batch for name in names):
        return None
    if any(info.batch_axis is None for info in outputs):
        return None
    for node in roles.graph.walk():
        op = registry.find(node)
        if op.random or op.stepwise:  # a draw for each place of a batch; a scale over all that is fed
            return None
    if meeting_point(roles, places=True) is not None:
        return None
    return {
        **{name: roles.batch[name] for name in names},
        **{o.name: o.batch_axis for o in outputs if o.batch_axis is not None},
    }


def groups(sequences: Sequence[Any], axes: Axes, names: Sequence[str]) -> Iterator[list[int]]:
    """The places of sequences that are run together: of the same types and sizes, each of one signal. What is given in another way
    stands alone."""
    alike = dict[Any, list[int]]()
    for index, feeds in enumerate(sequences):
        key: Any = index
        if isinstance(feeds, Mapping) and feeds.keys() == set(names) and all(_of_one(feeds[n], axes[n]) for n in names):
            key = tuple((feeds[name].dtype, feeds[name].shape) for name in names)
        alike.setdefault(key, []).append(index)
    for places in alike.values():
        size = 1
        if len(places) > 1:
            elements = sum(sequences[places[0]][name].size for name in names)
            size = max(1, min(MOST, MOST_ELEMENTS // max(elements, 1)))
        for at in range(0, len(places), size):
            yield places[at : at + size]


def _of_one(array: Any, axis: int) -> bool:
    return type(array) is np.ndarray and array.ndim > axis and array.shape[axis] == 1


def together(sequences: Sequence[Mapping[str, NDArray[Any]]], axes: Axes) -> dict[str, NDArray[Any]]:
    """Side by side."""
    return {name: np.concatenate([feeds[name] for feeds in sequences], axes[name]) for name in sequences[0]}


def split(made: Mapping[str, NDArray[Any]], axes: Axes, n: int) -> list[dict[str, NDArray[Any]]] | None:
    """And the outputs of each; None: an output has no place for each of them."""
    if any(array.ndim <= axes[name] or array.shape[axes[name]] != n for name, array in made.items()):
        return None
    parts = {name: [part.copy() for part in np.split(array, n, axes[name])] for name, array in made.items()}
    return [{name: each[k] for name, each in parts.items()} for k in range(n)]


def same_bits(alone: Mapping[str, NDArray[Any] | None], found: Mapping[str, NDArray[Any] | None]) -> bool:
    """Has a sequence of a batch what it has alone."""
    pairs = [(a, found[name]) for name, a in alone.items()]
    return all(a is b or (a is not None and b is not None and _bits(a) == _bits(b)) for a, b in pairs)


def _bits(array: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return array.shape, array.tobytes()
