"""What an unrolled loop begins with, where an exporter folded its first steps: found by trying.

From a state of zeros a product is a bias, f * c is nothing, and what is left of a first copy is any of a dozen forms. So
it is not read from its nodes: what the body makes of a first state has to be what the file makes in its first copies,
for drawn sequences of several magnitudes and at all sizes that the graph was walked at.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, product

import numpy as np

from ..graph.edit import Names
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from .copies import Before, Copies, Count, Here, Inside, Outside, Place, of_node
from .replay import SCALES, Replay, Unknown, close, draw, evaluate

__all__ = ["first_states"]

State = tuple[Place, int]
"""A value of the body, and how many copies before the first one it is of."""

First = str | float
"""A value of the file, or a number that fills the state."""

MOST_TRIES = 64
FILLS = (0.0, 1.0)


def first_states(
    copies: Copies, shown: Mapping[tuple[Place, int], str], const: Callable[[Array], str], names: Names
) -> tuple[list[Node], dict[State, str]] | None:
    """New nodes, and the value that each state begins with; None where no first values give what the file gives.

    shown: (what, copy) to the value of the file, for all that is read of the first copies. const: adds a constant.
    """
    states = [(place, lag) for place, most in copies.lags().items() for lag in range(1, most + 1)]
    choices = [_choices(copies, state) for state in states]
    if any(not found for found in choices):
        return None
    wanted = {**shown, **{key: v for key, v in copies.early.items() if 0 <= key[1] < copies.whole}}
    if not _of_the_body(copies):
        return None
    for firsts in islice(_orders(choices), MOST_TRIES):
        chosen = dict(zip(states, firsts, strict=True))
        if copies.whole == 0 or _gives(copies, chosen, wanted):
            maker = _Maker(copies, const, names)
            return maker.nodes, {state: maker.value(state, first) for state, first in chosen.items()}
    return None


def _of_the_body(copies: Copies) -> bool:
    """Do the first copies read nothing that follows a length and that the body does not read: what is tried at the lengths
    that were walked may be another thing at others."""
    body = _unsettled(copies, [copies.steps[copies.model]])
    return _unsettled(copies, copies.steps[: copies.whole]) <= body


def _unsettled(copies: Copies, steps: Iterable[Sequence[Node]]) -> set[Hashable]:
    """What nodes read, also through what is outside of all copies, and is the same only at the lengths that were walked.
    What copies compute of their own sizes (cut in halves, say) each computes for itself: by what the node is that does."""
    todo, seen = [v for step in steps for node in step for v in of_node(node)], set[str]()
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in copies.maker and copies.level.get(value, -1) < 0:
            todo += of_node(copies.maker[value])
    found = seen & copies.known.unsettled
    return {_made(copies, copies.maker[v]) if copies.level.get(v, -1) >= 0 else v for v in found}


def _made(copies: Copies, node: Node) -> Hashable:
    """What a node is, and the constants that it reads."""
    consts = (copies.known.const(v) for v in of_node(node))
    return copies.forms.of(node), *(None if array is None else copies.forms.content(array) for array in consts)


def _orders(choices: list[list[First]]) -> Iterator[tuple[First, ...]]:
    """The best guess for each, then one other at a time, then all."""
    best = tuple(found[0] for found in choices)
    yield best
    for i, found in enumerate(choices):
        for other in found[1:]:
            yield (*best[:i], other, *best[i + 1 :])
    yield from product(*choices)


def _choices(copies: Copies, state: State) -> list[First]:
    """What a state may begin with: what the first copy reads in its place, or else what is like it."""
    place, lag = state
    value = copies.early.get((place, -lag))
    if value is not None:
        return [value] if _fits(copies, value, place) and (copies.whole or _is_whole(copies, value, place)) else []
    found: list[First] = list(_in_its_place(copies, place, lag))
    found.append(0.0)
    for step in copies.steps[: copies.whole]:
        found += [v for n in step for v in of_node(n) if copies.level.get(v, -1) < 0 and _fits(copies, v, place)]
    fills = FILLS if _fact(copies, place, 0).dtype.kind == "f" else ()
    return list(dict.fromkeys([*found, *fills]))


def _in_its_place(copies: Copies, place: Place, lag: int) -> Iterator[str]:
    """What nodes of the first copies that look like those of the model read where these read a state."""
    model = copies.steps[copies.model]
    for t in range(min(lag, copies.whole)):
        step = copies.steps[t]
        same = SequenceMatcher(
            None, [copies.forms.of(n) for n in model], [copies.forms.of(n) for n in step], autojunk=False
        )
        for begin, at, size in same.get_matching_blocks():
            for k in range(size):
                values = of_node(step[at + k])
                for value, source in zip(values, copies.sources[begin + k], strict=True):
                    there = isinstance(source, Before) and (source.place, source.lag - t) == (place, lag)
                    if there and copies.level.get(value, -1) < 0 and _fits(copies, value, place):
                        yield value


def _fits(copies: Copies, value: str, place: Place) -> bool:
    """Can a value be that of a state, at all sizes: it has its dtype, and its shape or one that is repeated to it."""
    if not value or not copies.known.has(value):
        return False
    for i, facts in enumerate(copies.known.walks):
        want, fact = _fact(copies, place, i), facts[value]
        if fact.dtype != want.dtype or not _repeats(fact.shape, want.shape):
            return False
    return True


def _repeats(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape, to[len(to) - len(shape) :], strict=True))


def _is_whole(copies: Copies, value: str, place: Place) -> bool:
    """Has a value the shape of a state, at all sizes."""
    walks = copies.known.walks
    return all(facts[value].shape == _fact(copies, place, i).shape for i, facts in enumerate(walks))


def _fact(copies: Copies, place: Place, walk: int) -> Fact:
    value = copies.value(place, copies.model)
    assert value is not None
    return copies.known.walks[walk][value]


# ---- trying ------------------------------------------------------------------------------------------------------


def _gives(copies: Copies, chosen: Mapping[State, First], wanted: Mapping[tuple[Place, int], str]) -> bool:
    """Does the body, from these states, make what the first copies make."""
    try:
        return all(_gives_at(copies, chosen, wanted, walk, scale) for walk, scale in _trials(copies))
    except Unknown:
        return False


def _trials(copies: Copies) -> Iterator[tuple[int, float]]:
    for walk in range(len(copies.known.walks)):
        for scale in SCALES:
            yield walk, scale


def _gives_at(
    copies: Copies, chosen: Mapping[State, First], wanted: Mapping[tuple[Place, int], str], walk: int, scale: float
) -> bool:
    facts, rng = copies.known.walks[walk], np.random.default_rng(walk)
    given = {read.data: np.zeros(0) for read in copies.reads.values()}
    given = {data: draw(rng, facts[data], scale) for data in given}
    file = Replay(copies.graph.nodes, facts, given, rng, scale)
    body = _Steps(copies, file, walk, chosen)
    for t in range(copies.whole):
        body.step(t)
    return all(close(body.made[key], file.get(value)) for key, value in wanted.items())


@dataclass
class _Steps:
    """The body, run step by step beside the file."""

    copies: Copies
    file: Replay
    walk: int
    chosen: Mapping[State, First]

    def __post_init__(self) -> None:
        self.made: dict[tuple[Place, int], Array] = {}
        for (place, lag), first in self.chosen.items():
            fact = _fact(self.copies, place, self.walk)
            given = self.file.get(first) if isinstance(first, str) else np.full((), first, fact.dtype)
            self.made[place, -lag] = np.broadcast_to(given, fact.shape)

    def step(self, t: int) -> None:
        """All values of one copy."""
        copies, numbers = self.copies, {id(n): k for k, n in enumerate(self.copies.steps[self.copies.model])}
        for place in copies.lags():
            if place.node < 0:
                self.made[place, t] = self._position(place, t)
        for node, sources in copies.inside():
            k = numbers[id(node)]
            values: dict[str, Array] = {}
            for i, (value, source) in enumerate(zip(of_node(node), sources, strict=True)):
                if not value:
                    continue
                if Count(k, i) in copies.counts:
                    values[value] = copies.count(Count(k, i), t)
                elif isinstance(source, Outside):
                    values[value] = self.file.get(value)
                elif isinstance(source, Here):
                    values[value] = self._position(source.place, t)
                elif isinstance(source, Inside):
                    values[value] = self.made[source.place, t]
                elif isinstance(source, Before):
                    values[value] = self.made[source.place, t - source.lag]
            for i, made in enumerate(evaluate(node, values.get)):
                self.made[Place(k, i), t] = made

    def _position(self, place: Place, t: int) -> Array:
        at = self.copies.n - 1 - t if self.copies.reverse else t
        whole = self.file.get(place.data)
        return np.asarray(np.take(whole, [at] if place.keeps else at, place.axis))


# ---- making ------------------------------------------------------------------------------------------------------


@dataclass
class _Maker:
    """First values as values of the graph."""

    copies: Copies
    const: Callable[[Array], str]
    names: Names

    def __post_init__(self) -> None:
        self.nodes: list[Node] = []

    def value(self, state: State, first: First) -> str:
        """The name of one."""
        copies, place = self.copies, state[0]
        if isinstance(first, str) and _is_whole(copies, first, place):
            return first
        shapes = [_fact(copies, place, i).shape for i in range(len(copies.known.walks))]
        dtype = _fact(copies, place, 0).dtype
        if len(set(shapes)) == 1 and not isinstance(first, str):
            return self.const(np.full(shapes[0], first, dtype))
        parts = [self._extent(tuple(shape[a] for shape in shapes)) for a in range(len(shapes[0]))]
        given = first if isinstance(first, str) else self.const(np.full(1, first, dtype))
        return self._add("Expand", [given, self._add("Concat", parts, axis=0)])

    def _extent(self, extents: tuple[int, ...]) -> str:
        """A size as a value: that of the axis of a sequence that has it, too."""
        if len(set(extents)) == 1:
            return self.const(np.array([extents[0]], np.int64))
        for read in self.copies.reads.values():
            shapes = self.copies.known.shapes(read.data)
            for axis in range(len(shapes[0])):
                if tuple(shape[axis] for shape in shapes) == extents:
                    shape = self._add("Shape", [read.data])
                    return self._add("Gather", [shape, self.const(np.array([axis], np.int64))], axis=0)
        raise Unknown("a size that no sequence has")

    def _add(self, op: str, inputs: list[str], **attrs: int) -> str:
        name = self.names.fresh(f"{self.copies.steps[self.copies.model][0].name}/first/{op.lower()}")
        self.nodes.append(Node(op, name, inputs, [name], dict(attrs), "", 13))
        return name
