"""Proving: which numbers of a file are the sizes of the exporter's example; those are opened, no others.

PyTorch's exporters write the example's T and batch into Reshape targets and initial states, also where they were asked
for dynamic axes. A number is opened only on proof:

* the file declares the size of that axis, or runs at no other (`Example.honest`); what a file declares open and runs at
  other sizes is left alone;
* the walk at the example's sizes has time or batch where the number stands (places.py);
* with all such numbers opened the graph walks at other sizes, and every Reshape takes them the same way;
* where the graph also walks with the number as it is, either both readings give the same, or the target can only mean the
  axis: it restores all axes of its input, or keeps the axis where it was.

What cannot be told is left as it is, and the input axis keeps its declared size: other sizes are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..analysis.axes import trace
from ..analysis.labels import Trace
from ..errors import LstmInferError
from ..graph.edit import transaction
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import carries, recurrent
from ..walk.walk import Walk, walk
from .counts import uncounted
from .doubts import Doubt, in_doubt
from .example import Example, Sizes, example_at, example_of, sizes_that_are_open
from .natives import Native, agrees, natives_of
from .opening import open_places
from .places import Place, find_places

__all__ = ["thaw"]

PROBES = (11, 19)
_MOST_DRAWN = 1 << 20

Labels = Mapping[int, str]


def thaw(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> list[str]:
    """Open frozen sizes of `graph` in place; returns what was repaired, one text per place (empty: nothing).

    Input axes whose size may or may not be meant are put into `graph.fixed`.
    """
    if any(port.shape is None for port in inputs) or not any(
        recurrent.is_recurrent(n) or n.op == "Scan" for n in graph.walk()
    ):
        return []
    example = example_of(graph, inputs, constants)
    if example is None:
        return []
    labels = _frozen_labels(example)
    if not labels or _lost(example, labels):
        return []
    repair = _repaired(example, labels)
    example, labels = repair.example, _frozen_labels(repair.example)
    fixed = {**uncounted(example, labels, PROBES), **repair.unsure}
    for label, why in fixed.items():
        if example.declared(label) or (repair.fixed and label in repair.unsure):
            graph.fixed |= {place: (example.extent(label), why) for place in example.places(label)}
    return [place.text for place in repair.opened]


@dataclass(frozen=True)
class _Repair:
    """What was opened, read from one example; and its labels whose size may be meant somewhere, with the reason."""

    example: Example
    opened: list[Place]
    unsure: dict[int, str]
    fixed: bool = False
    """The unsure labels are held to the example's size, also where the file leaves them open."""

    def at_example(self, native: Native) -> bool:
        """Have the unsure labels the example's size there."""
        places = ((at, self.example.extent(label)) for label in self.unsure for at in self.example.places(label))
        return all(native.sizes.get(at, n) == n for at, n in places)


def _repaired(example: Example, labels: Labels) -> _Repair:
    """The graph repaired, where it is to be.

    Where open axes run at other sizes as well, the file itself says what it gives there. If a repair changes that, another
    of these sizes may have been the example: [18, 1, H] is T = 18 of one signal, or the 6 x 3 rows of three.
    """
    places = find_places(example, labels)
    if not places:
        return _Repair(example, [], {})
    apart, doubted = _apart(places), bool(in_doubt(example, labels, places))
    if not (apart or doubted):
        return _opened(example, labels, places)
    natives = natives_of(example, [label for label in labels if not example.declared(label)])
    told = [_answers(example, native.sizes) for native in natives] if doubted else []
    with transaction(example.graph) as change:
        first = _opened(example, labels, places)
        kept = [native for native in natives if first.at_example(native)] if first.unsure else natives
        if not first.opened or not (first.unsure or apart) or agrees(example, kept):
            change.keep()
            again = (_answers(example, native.sizes) for native in natives) if first.unsure else ()
            return replace(first, fixed=not natives or not all(map(_same, told, again)))
    return (_read_otherwise(example, natives) if apart else None) or _of_declared(example, labels, natives, first)


def _read_otherwise(example: Example, natives: Sequence[Native]) -> _Repair | None:
    """A repair read from another of the sizes at which the file runs, that changes nothing of what it gives at all of them."""
    for native in natives:
        other = example_at(example, native.sizes)
        if other is None:
            continue
        labels = _frozen_labels(other)
        with transaction(other.graph) as change:
            found = _opened(other, labels, find_places(other, labels))
            if found.opened and not found.unsure and agrees(example, natives):
                change.keep()
                return found
    return None


def _of_declared(example: Example, labels: Labels, natives: Sequence[Native], first: _Repair) -> _Repair:
    """Opened in the axes alone whose sizes the file declares; nothing where that changes what it gives."""
    declared = {label: what for label, what in labels.items() if example.declared(label)}
    with transaction(example.graph) as change:
        found = _opened(example, declared, find_places(example, declared))
        if agrees(example, natives):
            change.keep()
            return found
    return _Repair(example, [], first.unsure)


def _frozen_labels(example: Example) -> Labels:
    """Time and batch, where the file declares their sizes or runs at no others: what is open and runs is nobody's example."""
    labels = sizes_that_are_open(example)
    return {label: what for label, what in labels.items() if not example.honest or example.declared(label)}


def _apart(places: Sequence[Place]) -> bool:
    """Have some layers a first state for the batch that is fed, and others one for so many: rows of another kind."""
    states = [place for place in places if place.kind == "state"]
    return any(a.roots == b.roots and a.follows and not b.follows for a in states for b in states)


def _opened(example: Example, labels: Labels, places: Sequence[Place]) -> _Repair:
    """What is opened by one example; where that is right at one size of the batch only, which the file declares, the rest."""
    nothing = _Repair(example, [], {})
    if not places or any(_may_transpose(n, example, labels) for n in example.walked.nodes if n.op == "Reshape"):
        return nothing
    found = _all_opened(example, labels, places)
    for label, what in labels.items():
        left = {other: said for other, said in labels.items() if other != label and example.extent(other) > 1}
        if found.opened or found.unsure or what != "batch" or not example.declared(label) or not left:
            continue
        found = _all_opened(example, left, [place for place in places if set(place.roots) <= left.keys()])
    return found


def _all_opened(example: Example, labels: Labels, places: Sequence[Place]) -> _Repair:
    nothing = _Repair(example, [], {})
    doubted = in_doubt(example, sizes_that_are_open(example), places)
    if not doubted and _walks(example, labels):
        return nothing
    with transaction(example.graph) as change:
        cut = False
        for follows in (False, True):  # a first state made of the fed batch is touched only where nothing less will do
            chosen = [place for place in places if follows or not place.follows]
            chosen = [place for place in chosen if cut or place.kind != "end"]
            unsure = _unsure(example, chosen, doubted)
            chosen = [place for place in chosen if not set(place.roots) & set(unsure)]
            left = {label: what for label, what in labels.items() if label not in unsure}
            if not left or (unsure and _walks(example, left)):
                return _Repair(example, [], unsure)
            open_places(example, chosen)
            if chosen and _walks(example, left):
                change.keep()
                return _Repair(example, chosen, unsure)
            cut = not _fits(example, left)  # a cut that fits every length may be meant
            change.undo()
    return nothing


def _fits(example: Example, labels: Labels) -> bool:
    """Does the graph walk at other sizes, whatever it then does with them."""
    return all(
        example.walk({place: probe + 2 * i for i, label in enumerate(labels) for place in example.places(label)})
        for probe in PROBES
    )


def _unsure(example: Example, places: Sequence[Place], doubted: Sequence[Doubt]) -> dict[int, str]:
    """Labels with a number that may be the model's own, where it matters: both readings fit, and do not give the same."""
    here = [doubt for doubt in doubted if doubt.place in places]
    asked = [doubt.place for doubt in here if not doubt.cut]
    wrong = asked if asked and _matters(example, places, asked) else []
    return {
        root: f"{place.node} holds {place.was}, which may be that size or a number of the model's own"
        for place in [*wrong, *(doubt.place for doubt in here if doubt.cut)]
        for root in place.roots
    }


def _matters(example: Example, places: Sequence[Place], asked: Sequence[Place]) -> bool:
    roots = {root for place in asked for root in place.roots}
    sizes = {at: 2 * example.extent(root) for root in roots for at in example.places(root)}
    answers = []
    for left in (asked, []):
        with transaction(example.graph):
            chosen = [place for place in places if place not in left]
            open_places(example, chosen)
            answers.append(_answers(example, sizes))
            if left and answers[0] is None:
                return bool(chosen)  # as they are they do not fit; what else was opened may be why
    as_they_are, opened = answers
    return not _same(as_they_are, opened)


def _answers(example: Example, sizes: Sizes) -> list[Array] | None:
    """What the graph gives at these sizes, for drawn inputs; None where it does not fit."""
    rng = np.random.default_rng(0)
    feeds = example.feeds(sizes)
    for name, fact in feeds.items():
        if fact.const is None:
            if prod(fact.shape) > _MOST_DRAWN:
                return None
            feeds[name] = Fact.of(rng.uniform(0, 1, fact.shape).astype(fact.dtype))
    try:
        walked = walk(example.graph, feeds)
    except LstmInferError:
        return None
    found = [walked.facts[port.name].const for port in example.graph.outputs]
    return None if any(array is None for array in found) else [array for array in found if array is not None]


def _same(one: list[Array] | None, other: list[Array] | None) -> bool:
    return one is not None and other is not None and all(map(_close, one, other))


def _close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))


def _lost(example: Example, labels: Labels) -> bool:
    """Does a recurrence run over one step of which it cannot be said from where it comes, while an input has an axis of
    extent 1 that nobody knows: sizes of 1 that passed a Reshape in an order of their own."""
    known = {place for label in labels for place in example.places(label)}
    facts, traced = example.walked.facts, example.traced
    unknown = any(facts[name].shape[axis] == 1 for name, axis in traced.sources.values() if (name, axis) not in known)
    return unknown and any(
        facts[node.inputs[source]].shape[axis] == 1 and not traced.alone(node.inputs[source], axis)
        for node in example.walked.nodes
        if carries.carries(node)
        for source, axis in carries.runs_over(node)
    )


def _walks(example: Example, labels: Labels) -> bool:
    """Does the graph walk at two other sizes of every open axis, and take them the same way."""
    for probe in PROBES:
        sizes = {place: probe + 2 * index for index, label in enumerate(labels) for place in example.places(label)}
        walked = example.walk(sizes)
        if walked is None:
            return False
        if not _same_ways(example.walked, example.traced, walked, trace(example.inputs, walked), labels):
            return False
    return True


def _same_ways(walked: Walk, traced: Trace, other: Walk, again: Trace, labels: Iterable[int]) -> bool:
    """Does every Reshape that is met in two walks put some axes in the same place: [1, -1, F] takes time of one step to
    the front, and longer ones to the batch."""
    met = {node.name: node for node in other.nodes}
    for node in walked.nodes:
        if node.op == "Reshape" and node.name in met:
            for value in (node.outputs[0], node.inputs[0]):
                if any(traced.find(value, label) != again.find(value, label) for label in labels):
                    return False
    return True


def _may_transpose(node: Node, example: Example, labels: Labels) -> bool:
    """A Reshape that changes nothing, of time and batch of one step and one signal: what an exporter makes of a
    transposition that changes nothing. Which of the axes is which nobody can tell any more."""
    before, after, traced = node.inputs[0], node.outputs[0], example.traced
    ones = [f for axis in traced.axes[before] for f in axis if f.label and f.extent == 1]
    kinds = {labels.get(traced.root(f.label)) for f in ones}
    return example.walked.facts[before].shape == example.walked.facts[after].shape and {"time", "batch"} <= kinds
