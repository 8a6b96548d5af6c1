"""Inputs by targets: what holds of every pair of them, at once. Models with a hundred states have ten thousand pairs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.fact import Fact
from ..names import answers, calls
from .paths import UNREACHED, Levels
from .targets import Target, bare, cut

__all__ = ["Mask", "holding", "levels", "rhyming", "single", "unpacked"]

Mask = NDArray[np.bool_]
"""A row for each input, a column for each target."""


def levels(table: Mapping[str, Levels], targets: Sequence[Target], columns: Sequence[int]) -> Levels:
    """The levels of one kind of path."""
    found = np.full((len(columns), len(targets)), UNREACHED, np.uint8)
    for k, target in enumerate(targets):
        of_all = table.get(target.value)
        if of_all is not None:
            found[:, k] = of_all[list(columns)]
    return found


def single(table: Mapping[str, Levels], targets: Sequence[Target], columns: Sequence[int]) -> Mask:
    """Does a target depend on this input and nothing else."""
    reached: Mask = levels(table, targets, columns) != UNREACHED
    for k, target in enumerate(targets):
        of_all = table.get(target.value)
        if of_all is None or np.count_nonzero(of_all != UNREACHED) != 1:
            reached[:, k] = False
    return reached


def holding(facts: Mapping[str, Fact], inputs: Sequence[str], targets: Sequence[Target]) -> Mask:
    """May the target hold a value of the type and the shape of this input, up to axes of 1."""

    def kind(fact: Fact, shape: Sequence[int]) -> tuple[Any, ...]:
        return fact.dtype, bare(shape)

    held: dict[object, list[int]] = {}
    for k, target in enumerate(targets):
        for place in target.places:
            fact = facts[place.output]
            held.setdefault(kind(fact, fact.shape if place.part is None else cut(fact.shape, place.part)), []).append(k)
    return _marked(len(targets), (held.get(kind(facts[n], facts[n].shape), ()) for n in inputs))


def rhyming(inputs: Sequence[str], targets: Sequence[Target]) -> Mask:
    """Does the name of an input rhyme with that of an output which holds the target."""
    held: dict[object, set[int]] = {}
    for k, target in enumerate(targets):
        for output in target.outputs:
            for key in answers(output):
                held.setdefault(key, set()).add(k)
    none: set[int] = set()
    return _marked(len(targets), (none.union(*(held.get(key, none) for key in calls(name))) for name in inputs))


def unpacked(columns: Sequence[int], n_rows: int) -> Mask:
    """A column of bits for each number, the lowest in the first row."""
    n_bytes = -(-n_rows // 8)
    packed = np.frombuffer(b"".join(bits.to_bytes(n_bytes, "little") for bits in columns), np.uint8)
    rows = np.unpackbits(packed.reshape(len(columns), n_bytes), axis=1, count=n_rows, bitorder="little")
    found: Mask = rows.T.astype(np.bool_)
    return found


def _marked(n: int, rows: Iterable[Collection[int]]) -> Mask:
    found = [list(row) for row in rows]
    mask = np.zeros((len(found), n), np.bool_)
    for i, row in enumerate(found):
        mask[i, row] = True
    return mask
