"""What a file says of itself: the sizes of its open axes at which it runs as it is, and the shapes it gives there.

They are found from the numbers of the example: the same product of two axes dealt out otherwise, its multiples, and
each number that stands where sizes do. A repair that changes an answer there needs more than a number that fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from ..frozen import frozen
from .example import Example, Sizes, numbers_of

__all__ = ["Native", "agrees", "natives_of"]

MOST_WALKS, ENOUGH = 16, 6
LARGEST = 1 << 12
TIMES = (2, 3)

Shapes = list[tuple[int, ...]]


@frozen
class Native:
    """Sizes at which the file runs, and the shapes of all outputs."""

    sizes: Sizes
    shapes: Shapes


def natives_of(example: Example, labels: Sequence[int]) -> list[Native]:
    """Other sizes than the example's of these labels; `example` has the graph as the file has it."""
    found = []
    for extents in islice(_candidates(example, labels), MOST_WALKS):
        sizes = {at: n for label, n in extents.items() for at in example.places(label)}
        shapes = _shapes(example, sizes)
        if shapes is not None:
            found.append(Native(sizes, shapes))
        if len(found) == ENOUGH:
            break
    return found


def agrees(example: Example, natives: Sequence[Native]) -> bool:
    """Does the graph, as it is now, give the same shapes."""
    return all(_shapes(example, native.sizes) == native.shapes for native in natives)


def _shapes(example: Example, sizes: Sizes) -> Shapes | None:
    walked = example.walk(sizes)
    return None if walked is None else [walked.facts[port.name].shape for port in example.graph.outputs]


def _candidates(example: Example, labels: Sequence[int]) -> Iterator[dict[int, int]]:
    """Extents of labels that differ from the example's, the likeliest first."""
    seen = [{label: example.extent(label) for label in labels}]
    for extents in (*_dealt_out(example, labels), *_multiples(example, labels), *_written(example, labels)):
        whole = {**seen[0], **extents}
        if whole not in seen and max(whole.values()) <= LARGEST:
            seen.append(whole)
            yield extents


def _dealt_out(example: Example, labels: Sequence[int]) -> Iterator[dict[int, int]]:
    """[6, 3] as [9, 2], [18, 1], [3, 6]."""
    for one, other in combinations(labels, 2):
        total = example.extent(one) * example.extent(other)
        parts = [n for n in range(1, total + 1) if total % n == 0] if total <= LARGEST else []
        for n in sorted(parts, key=lambda n: abs(n - example.extent(one))):
            yield {one: n, other: total // n}


def _multiples(example: Example, labels: Sequence[int]) -> Iterator[dict[int, int]]:
    for times in TIMES:
        for label in labels:
            yield {label: times * example.extent(label)}


def _written(example: Example, labels: Sequence[int]) -> Iterator[dict[int, int]]:
    for n in sorted(numbers_of(example.graph)):
        for label in labels:
            yield {label: n}
