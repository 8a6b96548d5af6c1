"""Which extents a node would take in place of those that its shape rule refuses: the rule itself is asked.

No operator says a second time what its shape rule says already. A node is given other extents, one axis at a time:
those of its other inputs, its attributes and constants, their sums and products, and those of a ladder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod

from ..errors import BudgetError, LstmInferError, ShapeError
from ..frozen import frozen
from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..walk.bodies import is_control
from ..walk.walk import node_facts

__all__ = ["Fix", "fixes"]

LADDER = (128, 512, 1024, 4096, 16384, 65536)
"""Extents for an axis that only has to be long enough for the windows over it."""
NEAR, FIRST = 33, 9
"""Extents so far above the one that does not fit are asked about, and those below the second number."""
MOST_NUMBERS = 16
"""So many numbers of a node are multiplied with one another."""

MOST_AXES = 9
"""Several axes of one node are changed together where it has no more than these: of a sequence and its two states."""

ASK, EACH = 15_000, 1_000
"""What it costs to ask a shape rule, and beside that for each input."""

Ins = Sequence["Fact | None"]


@frozen
class Fix:
    """An axis of a node's input, and the extent at which the node would take it."""

    input: int
    axis: int
    got: int
    wanted: int
    const: bool
    """No value of an open size has the wanted extent: weights and constants say it."""
    only: bool
    """It is the only extent (but for 1, that is stretched)."""


def fixes(node: Node, ins: Ins, *, said: bool = False) -> list[Fix]:
    """What would make the node fit, the best first: extents that stand in weights, last axes first.

    Parameters
    ----------
    node : Node
    ins : facts of its inputs
    said : only extents that stand as they are in another input or in an attribute
    """
    if is_control(node) or _takes(node, ins):
        return []
    numbers = [n for group in _groups(node, ins) for n in group if n > 0] if said else _numbers(node, ins)
    one = _plain if said else _any
    found = [fix for place in _axes(ins) if (fix := one(node, ins, place, numbers)) is not None]
    if not found and len(_axes(ins)) <= MOST_AXES:
        found = list(_several(node, ins)) or ([] if said else list(_closer(node, ins)))
    return sorted(found, key=lambda fix: (not fix.only, not fix.const, -fix.axis))


def _closer(node: Node, ins: Ins) -> Iterator[Fix]:
    """Where several things do not fit: what makes one of them fit, so that the shape rule complains of another. One axis,
    or two of one input."""
    before, axes = _complaint(node, ins), _axes(ins)
    numbers = dict.fromkeys(n for group in _groups(node, ins) for n in group if n > 0)
    for i in reversed(range(len(ins))):  # shape rules begin with the first input: what fits already is not changed
        own = [place for place in axes if place[0] == i]
        for places in (*combinations(own, 1), *combinations(own, 2)):
            for extents in product(numbers, repeat=len(places)):
                changed = list(ins)
                for place, n in zip(places, extents, strict=True):
                    changed = _with(changed, [place], n)
                if _complaint(node, changed) not in (before, None):
                    for place, n in zip(places, extents, strict=True):
                        if n != _extent(ins, place):
                            yield _exact(ins, place, n, only=True)
                    return


def _complaint(node: Node, ins: Ins) -> str | None:
    """What the shape rule says, without the sizes; None where the file is broken, whatever the sizes."""
    spend(node, ASK + EACH * len(ins))
    try:
        node_facts(node, list(ins))
    except ShapeError as error:
        return re.sub(r"\d+", "#", str(error))
    except BudgetError:
        raise
    except LstmInferError:
        return None
    return ""


def _axes(ins: Ins) -> list[tuple[int, int]]:
    """Axes of the inputs that are no constants."""
    return [(i, a) for i, f in enumerate(ins) if f is not None and f.const is None for a in range(len(f.shape))]


def _takes(node: Node, ins: Ins) -> bool:
    """Does the node's shape rule take these inputs."""
    spend(node, ASK + EACH * len(ins))
    try:
        node_facts(node, list(ins))
    except BudgetError:
        raise
    except LstmInferError:
        return False
    return True


def _with(ins: Ins, places: Sequence[tuple[int, int]], extent: int) -> list[Fact | None]:
    """The inputs with another extent of these axes."""
    found = list(ins)
    for i, axis in places:
        fact = found[i]
        assert fact is not None
        found[i] = Fact((*fact.shape[:axis], extent, *fact.shape[axis + 1 :]), fact.dtype)
    return found


def _numbers(node: Node, ins: Ins) -> list[int]:
    """Extents that the node's inputs, attributes and constants name; sums and products of what is constant."""
    base = {n: None for group in _groups(node, ins) for n in group if n > 0}
    const: dict[int, None] = {}
    for group in _groups(node, [fact if fact is not None and fact.const is not None else None for fact in ins]):
        const |= dict.fromkeys(n for n in (*group, sum(group), prod(n for n in group if n > 0)) if n > 0)
    few = list(const)[:MOST_NUMBERS]
    made = {**const, **dict.fromkeys(a * b for a, b in combinations(few, 2))}
    made |= dict.fromkeys(a // b for a in few for b in (*base, *few) if b > 1 and a % b == 0)
    return [n for n in {**base, **made} if n <= LADDER[-1]]


def _groups(node: Node, ins: Ins) -> Iterator[list[int]]:
    """Numbers that belong together: a shape, a small constant, an attribute."""
    for fact in ins:
        if fact is not None:
            yield list(fact.shape)
            if fact.const is not None and fact.const.dtype.kind in "iu" and 0 < fact.const.size <= MOST_NUMBERS:
                yield [int(n) for n in fact.const.reshape(-1)]
    for value in node.attrs.values():
        if isinstance(value, int):
            yield [value]
        elif isinstance(value, list) and value and all(isinstance(n, int) for n in value):
            yield [n for n in value if isinstance(n, int)][:MOST_NUMBERS]


def _plain(node: Node, ins: Ins, place: tuple[int, int], numbers: Sequence[int]) -> Fix | None:
    """The one of these extents of an axis at which the node takes its inputs, and it takes none beside it."""
    got = _extent(ins, place)
    works = [n for n in dict.fromkeys(numbers) if n not in (1, got) and _takes(node, _with(ins, [place], n))]
    if len(works) != 1 or any(_takes(node, _with(ins, [place], n)) for n in (works[0] + 1, 2 * works[0])):
        return None
    return _exact(ins, place, works[0], only=True)


def _any(node: Node, ins: Ins, place: tuple[int, int], numbers: Sequence[int]) -> Fix | None:
    """An extent of this one axis at which the node takes its inputs."""
    got = _extent(ins, place)

    def takes(extent: int) -> bool:
        return _takes(node, _with(ins, [place], extent))

    near = [n for n in range(max(got, 0) + 1, got + NEAR) if takes(n)]
    steps = [n for n in LADDER if n > got and takes(n)] if not near or len(near) > 1 else []
    if len(near) > 1 or len(steps) > 1:  # any that is long enough, or a multiple
        anything = not near or near[-1] - near[0] == len(near) - 1
        named = [n for n in numbers if n > 1 and takes(n)]
        wanted = steps[0] if anything and steps else max(named, key=lambda n: _said(ins, n), default=near[0])
        return Fix(*place, got, wanted, const=True, only=False)
    works = dict.fromkeys(n for n in (*near, *steps, *numbers) if n != got and takes(n))
    works |= dict.fromkeys(n for n in range(1, FIRST) if n != got and takes(n)) if not works else {}
    if not works:
        return None
    wanted = max(works, key=lambda n: (n != 1, _said(ins, n), -abs(n - got)))
    return _exact(ins, place, wanted, only=not [n for n in works if n not in (1, wanted)])


def _extent(ins: Ins, place: tuple[int, int]) -> int:
    fact = ins[place[0]]
    assert fact is not None
    return fact.shape[place[1]]


def _exact(ins: Ins, place: tuple[int, int], wanted: int, *, only: bool) -> Fix:
    """The extent that an axis should have; does another value have it, of which an open size may be the reason."""
    from_open = any(f is not None and f.const is None and wanted in f.shape for f in ins)
    const = not from_open or any(f is not None and f.const is not None and wanted in f.shape for f in ins)
    return Fix(*place, _extent(ins, place), wanted, const=const, only=only)


def _said(ins: Ins, extent: int) -> int:
    """How plainly the inputs say an extent: in a constant, in another value, nowhere."""
    found = 0
    for fact in ins:
        if fact is not None and (extent in fact.shape or (fact.const is not None and _holds(fact.const, extent))):
            found = max(found, 1 if fact.const is None else 2)
    return found


def _holds(const: Array, extent: int) -> bool:
    return const.dtype.kind in "iu" and const.size <= MOST_NUMBERS and extent in const


def _several(node: Node, ins: Ins) -> Iterator[Fix]:
    """One axis of each of several inputs that all have to be one: of x, of its states and of its lengths, say."""
    axes = _axes(ins)
    extents = list(dict.fromkeys(_extent(ins, place) for place in axes))
    having = {n: [place for place in axes if _extent(ins, place) == n] for n in extents}
    for k in (2, 3):
        for target in extents:
            for chosen in combinations([n for n in extents if n != target], k):
                places = [place for n in chosen for place in having[n]]
                if len({i for i, _ in places}) == len(places) and _takes(node, _with(ins, places, target)):
                    for place in sorted(places):
                        yield Fix(*place, _extent(ins, place), target, const=False, only=True)
                    return
