"""Factors of a value under another shape: axes that are joined and split by a Reshape.

Factors are dealt out to the new axes in order. Three cases: a factor goes whole into an axis; it is cut at a border
between two axes, and loses its label; or the border falls where neither divides the other, and all from there on is
mixed. Factors of extent 1 have no place of their own and are dealt out beside these.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .labels import Axis, Factor, plain

__all__ = ["regroup"]


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """The factors of a value under another shape. A labelled factor that would have to be cut loses its label."""
    if 0 in shape:
        return plain(shape)  # nothing tells the factors of an empty value apart
    todo = [f for axis in axes for f in axis if f.label or f.extent != 1]
    out: list[Axis] = []
    for position, extent in enumerate(shape):
        rest = shape[position + 1 :]
        got = _one(todo) if extent == 1 else _several(todo, extent, rest)
        if prod(f.extent for f in got) != extent:
            got = []
        out.append(tuple(got) or (Factor(0, extent),))
    return tuple(out)


def _one(todo: list[Factor]) -> list[Factor]:
    """An axis of extent 1 takes one factor of extent 1, if that is the next."""
    return [todo.pop(0)] if todo and todo[0].extent == 1 else []


def _several(todo: list[Factor], extent: int, rest: Sequence[int]) -> list[Factor]:
    """The factors of an axis, taken off `todo`."""
    got: list[Factor] = []
    need = extent
    while todo:
        head = todo[0]
        if head.extent == 1:
            if need == 1 and rest:
                break  # carried along where no axis follows
            if sum(n == 1 for n in rest) > sum(f.extent == 1 for f in todo[1:]):
                todo.pop(0)  # moves past another axis: a transposition that only holds at extent 1
            else:
                got.append(todo.pop(0))
        elif need == 1:
            break
        elif need % head.extent == 0:
            got.append(todo.pop(0))  # whole
            need //= head.extent
        elif head.extent % need == 0:
            got.append(Factor(0, need))  # cut
            todo[0] = Factor(0, head.extent // need)
            need = 1
        else:
            got, need = [Factor(0, extent)], 1  # mixed
            todo[:] = _behind(todo, extent)
    return got


def _behind(todo: Sequence[Factor], extent: int) -> list[Factor]:
    """What is left behind an axis that does not fall on a factor's border: one factor without a label."""
    total = prod(f.extent for f in todo)
    return [Factor(0, total // extent)] if extent and total % extent == 0 else []
