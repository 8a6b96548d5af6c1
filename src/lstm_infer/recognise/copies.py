"""The copies of a loop's body that an exporter wrote out, one after the other, and what each of them reads.

A node belongs to the copy of the last position that goes into it. The copies in the middle are whole: equal node by
node, each reading what copies before it made. One near the end is the model. From it down to the first, each copy is
either equal to it, or one of the first that were folded, which start from known values; those behind it may lack what
nobody reads any more. What a copy reads is a `Source`: something of its own or of a copy before it, the position it
stands at, a value from outside, or a number that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..frozen import frozen
from ..graph.ir import Array, Graph, Node
from .forms import Forms
from .known import Known
from .positions import Read
from .replay import outer_values

__all__ = ["Before", "Copies", "Count", "Here", "Inside", "Outside", "Place", "of_node"]

ROUNDS = 32
"""How often values that no position goes into (counters) are looked for among those that the copies read."""

FEWEST_COUNTS = 3
"""Numbers in a row that make a rule: two say what it is, the others that it is one."""

MOST_LATE = 4
"""Copies at the end that may lack something."""


@frozen
class Place:
    """A value of the body: output of a node, or (number -1) one position of a sequence."""

    node: int
    output: int = 0
    data: str = ""
    axis: int = 0
    keeps: bool = False


@frozen
class _At:
    place: Place


class Inside(_At):
    """Made in the same copy."""


class Here(_At):
    """The position of this copy."""


@frozen
class Before(_At):
    """Made `lag` copies earlier: a state."""

    lag: int


@frozen
class Outside:
    """One value for all copies."""

    name: str


@frozen
class Count:
    """first + by * (number of the copy), as `dtype`."""

    node: int
    input: int


Source = Inside | Here | Before | Outside | Count


def of_node(node: Node) -> list[str]:
    """What a node reads, also inside its bodies."""
    return [*node.inputs, *(v for sub in node.subgraphs() for v in outer_values(sub))]


@dataclass
class Copies:
    """Found in one graph, over the positions of some sequences, in one direction."""

    graph: Graph
    known: Known
    reads: Mapping[str, Read]
    reverse: bool
    n: int = 0
    whole: int = 0
    """The first copy that is whole."""
    steps: list[list[Node]] = field(default_factory=list)
    sources: list[list[Source]] = field(default_factory=list)
    """Of the model's nodes, in the order of its step."""
    model: int = 0
    """The copy that the others are compared with."""
    late: dict[int, dict[Place, str]] = field(default_factory=dict)
    """Values of the copies behind the model, as far as they are there."""
    early: dict[tuple[Place, int], str] = field(default_factory=dict)
    """(what, copy) to the value that later copies read for it; copies below 0: first states."""
    shown_late: dict[Place, int] = field(default_factory=dict)
    """What is shown a copy later than it is made: a state, too."""
    counts: dict[Count, tuple[Array, Array]] = field(default_factory=dict)
    """First number and by how much it goes up."""

    def __post_init__(self) -> None:
        self.n = 1 + max(read.position for read in self.reads.values())
        self._assigned: dict[str, int] = {}
        self.forms = Forms()
        self.maker = {v: node for node in self.graph.nodes for v in node.outputs if v}

    def agree(self) -> bool:
        """Find the copies; are they copies of one body, and is it one that goes on."""
        return any(self._agree(self.n - 1 - k) for k in range(1, MOST_LATE + 1) if k < self.n)

    def _agree(self, model: int) -> bool:
        self.model = model
        self._assigned.clear()
        for _ in range(ROUNDS):
            self._place()
            if not self.steps[self.model] or not self._describe():
                return False
            pulled = self._compare()
            if not pulled:
                break
            self._assigned.update(pulled)
        else:
            return False
        if not self._find_counts():
            return False
        self._follow_late()
        complete = len({p.node for p in self.late[model + 1] if p.node >= 0}) == len(self.steps[model])
        return model - self.whole + 1 + complete >= 2

    def chained(self) -> bool:
        """Whatever the copies look like: does each read what the one before it made."""
        self.model = self.n - 2
        self._place()
        return all(
            any(self.level.get(v, -1) == t - 1 for node in self.steps[t] for v in of_node(node))
            for t in range(1, self.n - 1)
        )

    # ---- which copy a node belongs to -----------------------------------------------------------------------

    def time(self, position: int) -> int:
        """The copy that takes a position."""
        return self.n - 1 - position if self.reverse else position

    def _place(self) -> None:
        self.level: dict[str, int] = {v: self.time(read.position) for v, read in self.reads.items()}
        timed = dict(self.level)  # counters go on for ever: what they are made of says nothing
        self.steps = [[] for _ in range(self.n)]
        for node in self.graph.nodes:
            if any(v in self.reads for v in node.outputs):
                continue
            values = [v for v in node.outputs if v]
            at = max((timed.get(v, -1) for v in of_node(node)), default=-1)
            timed.update(dict.fromkeys(values, at))
            at = max([at, *(self._assigned.get(v, -1) for v in values)])
            if at >= 0:
                self.steps[at].append(node)
                self.level.update(dict.fromkeys(values, at))
        self._sort()
        self.places: list[dict[str, Place]] = [
            {v: Place(k, i) for k, node in enumerate(step) for i, v in enumerate(node.outputs) if v}
            for step in self.steps
        ]
        for value, read in self.reads.items():
            place = Place(-1, 0, read.data, read.axis, read.keeps)
            self.places[self.time(read.position)][value] = place
        model = [self.forms.of(node) for node in self.steps[self.model]]
        self.whole = self.model
        while self.whole > 0 and [self.forms.of(node) for node in self.steps[self.whole - 1]] == model:
            self.whole -= 1

    def _sort(self) -> None:
        """Each step in an order that its structure says; the order in the file decides among equals."""
        numbers: dict[object, int] = {}
        for t, step in enumerate(self.steps):
            inside: dict[str, int] = {}
            marks = []
            for node in step:
                seen = []
                for v in of_node(node):
                    read = self.reads.get(v)
                    here = read is not None and self.time(read.position) == t
                    seen.append((read.data, read.axis, read.keeps) if here and read else inside.get(v, -1))
                mark = numbers.setdefault((self.forms.of(node), tuple(seen)), len(numbers))
                inside.update(dict.fromkeys(node.outputs, mark))
                marks.append(mark)
            order = sorted(range(len(step)), key=lambda k, marks=marks: marks[k])  # type: ignore[misc]
            self.steps[t] = [step[k] for k in order]

    # ---- what the model reads, and do the others read the same ----------------------------------------------

    def _describe(self) -> bool:
        """What the nodes of the model read; False where that is no body of a loop."""
        t = self.model
        self.sources, self.early = [], {}
        for node in self.steps[t]:
            found: list[Source] = []
            for value in of_node(node):
                source = self._source(value, t)
                if source is None:
                    return False
                found.append(source)
            self.sources.append(found)
        return True

    def _source(self, value: str, t: int) -> Source | None:
        at = self.level.get(value, -1)
        if at < 0:
            return Outside(value)
        place = self.places[at].get(value)
        if place is None or at > t or (at < self.whole and place.node >= 0):
            return None
        if at < t:
            return Before(place, t - at)
        return Here(place) if place.node < 0 else Inside(place)

    def _compare(self) -> dict[str, int]:
        """How far down from the model copies are like it: `whole`. Where they differ in values that no position goes
        into, the makers of those, which then belong to the copies."""
        self.whole_as_formed, self.whole = self.whole, self.model
        self.differ: set[Count] = set()
        pulled: dict[str, int] = {}
        folded = -1
        for t in range(self.model, self.whole_as_formed - 1, -1):
            early: dict[tuple[Place, int], str] = {}
            if t <= folded or not all(
                self._same(source, value, t, Count(k, i), early)
                for k, (node, sources) in enumerate(zip(self.steps[t], self.sources, strict=True))
                for i, (value, source) in enumerate(zip(of_node(node), sources, strict=True))
            ):
                break
            if any(self.early.get(key, value) != value for key, value in early.items()):
                break
            self.early.update(early)
            self.whole = t
            folded = max([folded, *(s for (place, s), v in early.items() if s >= 0 and not self._is_at(v, place, s))])
        for count in self.differ:
            values = {t: of_node(self.steps[t][count.node])[count.input] for t in range(self.whole, self.model + 1)}
            if all(self._number(v) is not None for v in values.values()):
                continue
            pulled.update({v: t for t, v in values.items() if v in self.maker and v not in self._assigned})
        return pulled

    def _is_at(self, value: str, place: Place, t: int) -> bool:
        return self.places[t].get(value) == place

    def _same(self, source: Source, value: str, t: int, where: Count, early: dict[tuple[Place, int], str]) -> bool:
        if isinstance(source, (Inside, Here)):
            return self._is_at(value, source.place, t)
        if isinstance(source, Before):
            s = t - source.lag
            if self.level.get(value, -1) > s:
                return False
            return early.setdefault((source.place, s), value) == value
        assert isinstance(source, Outside)
        if self.level.get(value, -1) >= 0:
            return False
        if value != source.name and not self._equal(value, source.name):
            if not self.known.has(value) or not self.known.has(source.name) or not value or not source.name:
                return False
            self.differ.add(where)
        return True

    def _number(self, value: str) -> Array | None:
        return self.known.const(value) if self.known.sure else None

    def _equal(self, a: str, b: str) -> bool:
        """Are two constants one."""
        x, y = (self.known.const(v) for v in (a, b))
        return x is not None and y is not None and (x is y or self.forms.content(x) == self.forms.content(y))

    def _find_counts(self) -> bool:
        """The rule behind numbers that are others in each copy: they go up evenly."""
        self.counts = {}
        for count in self.differ:
            found = [
                self._number(of_node(self.steps[t][count.node])[count.input]) for t in range(self.whole, self.model + 1)
            ]
            numbers = [a for a in found if a is not None]
            rule = _evenly(numbers, self.whole) if len(numbers) == len(found) else None
            if rule is None:
                return False
            self.counts[count] = rule
        return True

    # ---- the copies at the end ------------------------------------------------------------------------------

    def _follow_late(self) -> None:
        """The values of the copies behind the model: nodes like the model's that read what these read there."""
        self.late = {}
        by_inputs = self._by_inputs(self.graph.nodes)
        order = {id(node): k for k, node in enumerate(self.steps[self.model])}
        for t in range(self.model + 1, self.n):
            late = self.late[t] = {p: v for v, p in self.places[t].items() if p.node < 0}
            own = self._by_inputs(self.steps[t])  # of equal nodes its own: what reads it may read no other
            for node, k in ((n, order[id(n)]) for n in self.graph.nodes if id(n) in order):
                marks = [self._mark_late(source, Count(k, i), t) for i, source in enumerate(self.sources[k])]
                key = (self.forms.of(node), *marks)
                found = None if None in marks else own.get(key, by_inputs.get(key))
                if found is not None:
                    late.update({Place(k, i): v for i, v in enumerate(found.outputs) if v})

    def _by_inputs(self, nodes: Iterable[Node]) -> dict[object, Node]:
        """Nodes by what they do and read; the first of equal ones."""
        found: dict[object, Node] = {}
        for node in nodes:
            found.setdefault((self.forms.of(node), *map(self._mark, of_node(node))), node)
        return found

    def _mark(self, value: str) -> str:
        const = self.known.const(value)
        return value if const is None else self.forms.content(const)

    def _mark_late(self, source: Source, where: Count, t: int) -> str | None:
        if where in self.counts:
            return self.forms.content(self.count(where, t))
        if isinstance(source, Outside):
            return self._mark(source.name)
        if isinstance(source, Before):
            value = self.value(source.place, t - source.lag)
        else:
            assert isinstance(source, (Inside, Here))
            value = self.late[t].get(source.place)
        return None if value is None else self._mark(value)

    def count(self, where: Count, t: int) -> Array:
        """A number of one copy."""
        first, by = self.counts[where]
        return np.asarray(first + by * t, first.dtype)

    # ---- for those who ask ----------------------------------------------------------------------------------

    def value(self, place: Place, t: int) -> str | None:
        """What a place is called in copy t, where that is known."""
        if (place, t) in self.early:
            return self.early[place, t]
        if t > self.model:
            return self.late[t].get(place)
        if place.node < 0:
            return next((v for v, p in self.places[t].items() if p == place), None) if t >= 0 else None
        return self.steps[t][place.node].outputs[place.output] if t >= self.whole else None

    def lags(self) -> dict[Place, int]:
        """States: what is read of copies before, and how many copies back at most."""
        found = dict(self.shown_late)
        for sources in self.sources:
            for source in sources:
                if isinstance(source, Before):
                    found[source.place] = max(found.get(source.place, 0), source.lag)
        return found

    def inside(self) -> Iterator[tuple[Node, list[Source]]]:
        """The nodes of the model in the order of the file, with what they read."""
        by_id = {id(node): sources for node, sources in zip(self.steps[self.model], self.sources, strict=True)}
        return ((node, by_id[id(node)]) for node in self.graph.nodes if id(node) in by_id)


def _evenly(numbers: list[Array], begin: int) -> tuple[Array, Array] | None:
    """Numbers of the copies `begin`, `begin` + 1 ... as (that of copy 0, what each next one has more)."""
    if len(numbers) < FEWEST_COUNTS or any(a.shape != numbers[0].shape for a in numbers):
        return None
    if numbers[0].dtype.kind not in "fiu" or any(a.dtype != numbers[0].dtype for a in numbers):
        return None
    by = np.asarray(numbers[1] - numbers[0], numbers[0].dtype)
    first = np.asarray(numbers[0] - by * begin, numbers[0].dtype)
    for t, number in enumerate(numbers):
        want = first + by * (begin + t)
        exact = number.dtype.kind != "f" or bool(np.all(want == np.round(want)))
        if not (np.array_equal(want, number) if exact else np.allclose(want, number, rtol=1e-6, atol=0)):
            return None
    return first, by
