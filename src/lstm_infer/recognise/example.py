"""The sizes that a file was made at: a walk at its declared sizes, and at those of open axes that fit what stands in it.

An exporter runs a model once, on an example, and may write the example's T and batch into the file as numbers, also
where it was asked for open axes. Open axes are tried at primes first, which are told from all other numbers. A file that
walks at two sets of them is honest about its open axes: no number in it belongs to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product

from ..analysis.axes import trace
from ..analysis.labels import Trace
from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import carries, recurrent
from ..walk.remembered import unchanged
from ..walk.walk import Walk, walk
from .written_shapes import target_of

__all__ = [
    "Example",
    "Sizes",
    "example_at",
    "example_of",
    "feeds_at",
    "is_clean",
    "native_walk",
    "numbers_of",
    "sizes_that_are_open",
]

PRIMES = ((13, 7, 5), (19, 11, 3))
"""Neither the sum nor the difference of two sizes is that of the same two in the second row."""
MOST_WALKS = 64
LARGEST_FROZEN = 4096

Sizes = Mapping[tuple[str, int], int]
Groups = list[list[tuple[str, int]]]


@frozen
class Example:
    """A walk at the sizes the file was made at."""

    graph: Graph
    inputs: Sequence[Port]
    constants: Mapping[str, Array]
    walked: Walk
    traced: Trace
    sizes: dict[tuple[str, int], int]
    """Of the open axes."""
    honest: bool
    """The open axes are open: the graph walks at other sizes of all of them."""
    other: Walk | None = None
    """That other walk."""

    def places(self, label: int) -> list[tuple[str, int]]:
        """The input axes behind a label."""
        return self.traced.inputs_of(label)

    def extent(self, label: int) -> int:
        """How many positions the axis has in the example."""
        name, axis = self.places(label)[0]
        return self.walked.facts[name].shape[axis]

    def declared(self, label: int) -> bool:
        """Does the file declare the size of this axis."""
        shapes = {port.name: port.shape or () for port in self.inputs}
        return any(isinstance(shapes[name][axis], int) for name, axis in self.places(label))

    def feeds(self, sizes: Sizes) -> dict[str, Fact]:
        """Facts of all inputs, these axes at other sizes."""
        return feeds_at(self.inputs, self.constants, {**self.sizes, **sizes})

    def walk(self, sizes: Sizes) -> Walk | None:
        """A walk with these axes at other sizes; None where the graph does not fit them."""
        try:
            return walk(self.graph, self.feeds(sizes))
        except LstmInferError:
            return None


def feeds_at(inputs: Sequence[Port], constants: Mapping[str, Array], sizes: Sizes) -> dict[str, Fact]:
    """Facts of all inputs at these sizes, else as declared."""
    facts = {name: Fact.of(array) for name, array in constants.items()}
    for port in inputs:
        assert port.shape is not None
        shape = tuple(sizes.get((port.name, a), n if isinstance(n, int) else 1) for a, n in enumerate(port.shape))
        facts[port.name] = Fact(shape, port.dtype)
    return facts


def native_walk(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]
) -> tuple[Walk, dict[str, Fact]] | None:
    """A walk at sizes the graph was made at, and what was fed to it."""
    found = example_of(graph, inputs, constants)
    return None if found is None else (found.walked, found.feeds({}))


def example_of(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Example | None:
    """The sizes at which the graph walks: open axes at primes, and then at the numbers that stand in its targets."""
    with unchanged(graph):
        return _example_of(graph, inputs, constants)


def _example_of(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Example | None:
    agreements = _agreements(inputs)
    tried: dict[frozenset[tuple[tuple[str, int], int]], Walk | None] = {}

    def at(sizes: dict[tuple[str, int], int]) -> Walk | None:
        key = frozenset(sizes.items())
        if key not in tried:
            tried[key] = _walk(graph, feeds_at(inputs, constants, sizes))
        return tried[key]

    for groups in agreements:
        first, other = (_spread(groups, primes) for primes in PRIMES)
        walked = at(first)
        again = None if walked is None else at(other)
        if walked is not None and again is not None:
            return Example(graph, inputs, constants, walked, trace(inputs, walked), first, True, again)
    numbers = sorted(numbers_of(graph), key=lambda n: (n == 1, n))  # one step fits wherever a longer one is broadcast
    seen, fitting = set(), None
    for sizes in _tries(agreements, numbers):
        key = frozenset(sizes.items())
        walked = None if key in seen else at(sizes)
        seen.add(key)
        if walked is not None:
            found_at = Example(graph, inputs, constants, walked, trace(inputs, walked), sizes, False)
            if is_clean(found_at):
                if _in_order(found_at):
                    return found_at
                fitting = fitting or found_at
    return fitting


def example_at(example: Example, sizes: Sizes) -> Example | None:
    """The same file, as if it had been made at other sizes of its open axes; None where these were no example's."""
    found = {**example.sizes, **sizes}
    walked = _walk(example.graph, feeds_at(example.inputs, example.constants, found))
    if walked is None:
        return None
    other = replace(example, walked=walked, traced=trace(example.inputs, walked), sizes=found)
    return other if is_clean(other) and _in_order(other) else None


def _walk(graph: Graph, feeds: Mapping[str, Fact]) -> Walk | None:
    try:
        return walk(graph, feeds)
    except LstmInferError:
        return None


def _spread(groups: Groups, primes: Sequence[int]) -> dict[tuple[str, int], int]:
    return {place: primes[min(i, 2)] for i, places in enumerate(groups) for place in places}


def _tries(agreements: list[Groups], frozen: list[int]) -> Iterator[dict[tuple[str, int], int]]:
    """Sizes of all open axes: where nothing is frozen, for each agreement between them, before what is frozen."""
    for numbers in ([], frozen) if frozen else ([],):
        for groups in agreements:
            choices = [[PRIMES[0][min(i, 2)], *numbers] for i in range(len(groups))]
            for values in islice(product(*choices), MOST_WALKS):
                yield {place: value for places, value in zip(groups, values, strict=True) for place in places}


def _agreements(inputs: Sequence[Port]) -> list[Groups]:
    """Which open axes have one size: those of one name, and then, as many exporters mean without saying so, the first
    axes of all inputs; the axes of one number; all."""
    places = [(p.name, a, n) for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)]
    named = {(name, a): n if isinstance(n, str) and n else f"{name}.{a}" for name, a, n in places}
    keys = [
        named,
        {place: "" if place[1] == 0 else name for place, name in named.items()},
        {place: str(place[1]) for place in named},
        dict.fromkeys(named, ""),
    ]
    found = []
    for key in keys:
        groups: dict[str, list[tuple[str, int]]] = {}
        for place, name in key.items():
            groups.setdefault(name, []).append(place)
        if list(groups.values()) not in found:
            found.append(list(groups.values()))
    return found


def is_clean(example: Example) -> bool:
    """Do time and batch pass every Reshape: at sizes that merely happen to fit, axes are cut and mixed."""
    return all(
        before is None or after is not None
        for _, passed in _passed(example, list(sizes_that_are_open(example)))
        for before, after in passed
    )


def _in_order(example: Example) -> bool:
    """Do all open axes pass every Reshape, none of them past another or into the features: at [4, 1, 6] -> [1, 4, 6] one of
    four and one of one change places, so the example was [1, 4, 6]."""
    axes, known = example.traced.axes, {label for label, at in example.traced.sources.items() if at in example.sizes}
    for node, passed in _passed(example, list(known)):
        met = sorted((before, after) for before, after in passed if before is not None and after is not None)
        if any(before is not None and after is None for before, after in passed) or met != sorted(
            met, key=lambda m: m[1]
        ):
            return False
        for axis in axes[node.outputs[0]] if example.walked.facts[node.outputs[0]].shape.count(1) else ():
            others = any(f.label not in known and f.extent > 1 for f in axis)
            if others and any(f.label in known and f.extent == 1 for f in axis):
                return False
    return True


def _passed(example: Example, labels: Sequence[int]) -> Iterator[tuple[Node, list[tuple[int | None, int | None]]]]:
    """Every Reshape, and where each label is before and after it."""
    find = example.traced.find
    for node in example.walked.nodes:
        if node.op == "Reshape":
            yield node, [(find(node.inputs[0], label), find(node.outputs[0], label)) for label in labels]


def numbers_of(graph: Graph) -> set[int]:
    """Numbers that stand where sizes are asked for."""
    found: set[int] = set()
    for g in graph.graphs():
        consts = graph.consts | g.consts
        made = {name: node for node in g.nodes for name in node.outputs if name}
        for node in g.nodes:
            name = target_of(node)
            held = [name, *(made[name].inputs if name in made and made[name].op == "Concat" else [])] if name else []
            for value in held:
                if value in consts and consts[value].dtype.kind == "i":
                    found |= {int(n) for n in consts[value].reshape(-1) if 0 < n <= LARGEST_FROZEN}
    return found


def sizes_that_are_open(example: Example) -> dict[int, str]:
    """Root labels of time and batch of the recurrences; where some run forward, an axis that others run both ways over
    is inside a step."""
    traced = example.traced
    found: dict[int, str] = {}
    closed: set[int] = set()
    for node in example.walked.nodes:
        if not carries.carries(node):
            continue
        for source, axis in carries.runs_over(node):
            label = traced.alone(node.inputs[source], axis)
            if label:
                found.setdefault(label, "time")
                closed |= {label} if recurrent.both_ways(node) else set()
        place = carries.batch_axis(node)
        label = traced.alone(node.inputs[place[0]], place[1]) if place else 0
        if label:
            found.setdefault(label, "batch")
    forward = {label for label, what in found.items() if what == "time"} - closed
    return {label: what for label, what in found.items() if not forward or label not in closed}
