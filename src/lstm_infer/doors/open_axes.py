"""Which axes of a module's inputs are open: tried on the module itself, with examples that are longer there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Axes", "Shapes", "drawn", "find_groups", "find_lasting", "grown"]

Arrays = list[NDArray[np.generic]]
Shapes = list[tuple[int, ...]]
Axes = tuple[tuple[int, int], ...]
"""(input, axis) of axes that have one size."""

MOST_TRIES = 64
"""Of axes that may have to grow with one."""


def grown(arrays: Arrays, sizes: dict[tuple[int, int], int]) -> Arrays:
    """The arrays with other extents of some axes, what is there repeated."""
    found = list(arrays)
    for (index, axis), size in sizes.items():
        found[index] = np.take(found[index], np.arange(size) % found[index].shape[axis], axis)
    return found


def find_groups(shapes: Callable[[Arrays], Shapes | None], arrays: Arrays) -> list[Axes]:
    """Groups of axes that can grow by one together, and not one without the others.

    shapes: of the outputs that the module gives for these inputs, None where it takes no such inputs. A group that changes
    them goes before one that does not: some modules look at one input only for how many signals there are.
    """
    groups: list[Axes] = []
    before = shapes(arrays)
    for index, array in enumerate(arrays):
        for axis in range(array.ndim):
            if any((index, axis) in group for group in groups) or not array.shape[axis]:
                continue
            unchanged = None
            for group in _together(arrays, index, axis):
                after = shapes(grown(arrays, _sizes(arrays, group)))
                if after is not None and after != before:
                    groups.append(group)
                    break
                unchanged = unchanged or (group if after is not None else None)
            else:
                groups += [unchanged] if unchanged is not None else []
    return groups


def find_lasting(shapes: Callable[[Arrays], Shapes | None], arrays: Arrays, groups: Sequence[Axes]) -> list[Axes]:
    """The groups that leave states their sizes: not those of states alone, nor those by which a state and its next one differ.

    An input is taken for a state where an output has its shape; the first one not, where that would be all of them.
    """
    before = shapes(arrays) or []
    next_of = {i: [n for n, shape in enumerate(before) if shape == array.shape] for i, array in enumerate(arrays)}
    maybe = {index for index, outputs in next_of.items() if outputs}
    if len(maybe) == len(arrays):
        maybe.discard(0)

    def lasts(group: Axes) -> bool:
        larger = grown(arrays, _sizes(arrays, group))
        after = shapes(larger) or []
        alike = all(any(after[n : n + 1] == [larger[index].shape] for n in next_of[index]) for index in maybe)
        return alike and not {index for index, _ in group} <= maybe

    return [group for group in groups if lasts(group)]


def _sizes(arrays: Arrays, group: Axes) -> dict[tuple[int, int], int]:
    return {(i, a): arrays[i].shape[a] + 1 for i, a in group}


def _together(arrays: Arrays, index: int, axis: int) -> Iterator[Axes]:
    """The axis alone, then with axes of later inputs that have its size: one of each, those most likely meant first."""
    size = arrays[index].shape[axis]
    yield ((index, axis),)
    others = []
    for other in range(index + 1, len(arrays)):
        found = [(other, a) for a, n in enumerate(arrays[other].shape) if n == size]
        if found:
            others.append([*found, None])
    for _, chosen in zip(range(MOST_TRIES), product(*others), strict=False):
        more = tuple(one for one in chosen if one is not None)
        if more:
            yield ((index, axis), *more)


def drawn(rng: np.random.Generator, arrays: Arrays, groups: Sequence[Axes], sizes: Sequence[int]) -> Arrays:
    """Inputs of other sizes: numbers drawn from those of the example, so that they stay in its range; integers and booleans
    repeat."""
    found = []
    for array in grown(arrays, {one: size for group, size in zip(groups, sizes, strict=True) for one in group}):
        if array.dtype.kind != "f" or not array.size:
            found.append(array)
        elif (array == array.flat[0]).all():  # zeros, say: they would show nothing
            found.append(rng.uniform(-1, 1, array.shape).astype(array.dtype))
        else:
            found.append(rng.choice(array.reshape(-1), array.shape))
    return found
