"""What every kind of evidence is asked of: the candidates, the ways between them, and who is computed from whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ...frozen import frozen
from ...graph.budget import spend
from ...graph.fact import Fact
from ...graph.ir import Node
from ...ops import registry
from ...walk.walk import Walk
from ..names import SIDES, affinity, follows, rhymes, says_state, stem
from . import grid
from .grid import Mask
from .paths import ANY, DIRECT, UNREACHED, Levels, Paths, find_paths, only_step
from .targets import Place, Target, bare, cut, find_targets, makers_of, root

__all__ = ["NextState", "Scene", "set_scene"]

PASS = 1_000
"""What it costs to follow all inputs through a node."""


@frozen
class NextState:
    """Where the next value of a state stands, and what shows that it does."""

    place: Place
    evidence: str
    by_name: bool = False
    """Names had to decide between several that have the evidence."""


@frozen
class Scene:
    """The candidates of a model, before any is decided."""

    walked: Walk
    fed: tuple[str, ...]
    """All inputs that are not constant."""
    inputs: tuple[str, ...]
    """Those that may be states."""
    targets: tuple[Target, ...]
    paths: Paths
    frames: bool
    """No input has a time axis: every call is a step."""
    sequences: frozenset[str]
    of_any_length: frozenset[str]
    """Inputs that the file leaves open along more axes than one, which may be the batch."""
    makers: Mapping[str, Node]
    index: Mapping[str, int]
    """Place of each input in `fed`."""
    behind: tuple[frozenset[int], ...]
    """By target: the others that are computed from what it holds."""
    alike: Mapping[str, str]
    """The state behind the only step of a recurrence, by which its sequence goes too."""

    def fact(self, value: str) -> Fact:
        return self.walked.facts[value]

    def level(self, name: str, target: int) -> int:
        """The best path from an input to a target."""
        return self._at(self.paths.level, name, target)

    def _at(self, table: Mapping[str, object], name: str, target: int) -> int:
        levels = table.get(self.targets[target].value)
        return UNREACHED if levels is None else int(levels[self.index[name]])  # type: ignore[index]

    def fits(self, name: str, target: int) -> bool:
        """May the target hold a next value of this input: same type, same shape up to axes of 1."""
        row = self.row.get(name)
        return row is not None and bool(self.fitting[row, target])

    @cached_property
    def row(self) -> dict[str, int]:
        """Place of each input in `inputs`."""
        return {name: i for i, name in enumerate(self.inputs)}

    @cached_property
    def _columns(self) -> list[int]:
        return [self.index[name] for name in self.inputs]

    @cached_property
    def levels(self) -> Levels:
        """`level` of all pairs."""
        return grid.levels(self.paths.level, self.targets, self._columns)

    @cached_property
    def throughs(self) -> Levels:
        """`through` of all pairs."""
        return grid.levels(self.paths.through, self.targets, self._columns)

    @cached_property
    def sums(self) -> Levels:
        """`summed` of all pairs."""
        return grid.levels(self.paths.summed, self.targets, self._columns)

    @cached_property
    def fitting(self) -> Mask:
        """The pairs of one type and shape, up to axes of 1, but for what a recurrence makes of a sequence."""
        answers = np.array([name in self.sequences for name in self.inputs], np.bool_)[:, None] & (self.levels > DIRECT)
        return self.holding & ~answers & ~self._held

    @cached_property
    def holding(self) -> Mask:
        """The pairs of one type and shape, up to axes of 1."""
        return grid.holding(self.walked.facts, self.inputs, self.targets)

    @cached_property
    def _held(self) -> Mask:
        """The pairs whose target is no next value by what it is: the input as it came in, one part of a longer output; or
        a value less the input, how far that one moved."""
        found = np.zeros((len(self.inputs), len(self.targets)), np.bool_)
        for k, target in enumerate(self.targets):
            node = self.makers.get(target.value)
            if node is None and target.value in self.row and all(place.part for place in target.places):
                found[self.row[target.value], k] = True
            if node is not None and node.op == "Sub":
                less = root(node.inputs[1], self.makers, self.walked)
                if less in self.row and less != root(node.inputs[0], self.makers, self.walked):
                    found[self.row[less], k] = True
        return found

    @cached_property
    def partners(self) -> Mask:
        """The pairs of one shape whose names belong together: equal but for words for the side, else but for those for
        the time too, where neither has another of the first kind."""
        outputs = [[stem(o, SIDES) for o in target.outputs] for target in self.targets]
        names = [stem(name, SIDES) for name in self.inputs]
        close: Mask = np.array([[bool(n) and n in mine for mine in outputs] for n in names], np.bool_)
        close = close.reshape(self.fitting.shape) & self.fitting
        taken = close.any(axis=1, keepdims=True) | close.any(axis=0, keepdims=True)
        found: Mask = close | (self.rhyming & self.fitting & ~taken)
        return found

    @cached_property
    def singles(self) -> Mask:
        """`alone` of all pairs."""
        return grid.single(self.paths.level, self.targets, self._columns)

    @cached_property
    def exposures(self) -> Mask:
        """`exposed` of all targets."""
        return np.array([self.exposed(k) for k in range(len(self.targets))], np.bool_)

    @cached_property
    def rhyming(self) -> Mask:
        """`rhymes` of all pairs."""
        return grid.rhyming(self.inputs, self.targets)

    @cached_property
    def said(self) -> tuple[Mask, Mask]:
        """Does the name say that it holds a state: of all inputs, and of an output of all targets."""
        outputs = [any(says_state(o) for o in target.outputs) for target in self.targets]
        return np.array([says_state(name) for name in self.inputs], np.bool_), np.array(outputs, np.bool_)

    @cached_property
    def witnesses(self) -> Mask:
        """`witnessed` of all pairs."""
        of_inputs, of_outputs = self.said
        found: Mask = of_inputs[:, None] | of_outputs
        for i, k in np.argwhere(self.rhyming & ~found).tolist():  # who follows rhymes
            found[i, k] = any(follows(self.inputs[i], o) for o in self.targets[k].outputs)
        return found

    @cached_property
    def former(self) -> Mask:
        """The pairs that rhyme in that the input is called what was before (action, prev_action), while the output is not
        called what comes next: of an answer it may be fed back, or what was made of it."""
        found = self.rhyming.copy()
        for i, k in np.argwhere(found).tolist():
            name, outputs = self.inputs[i], self.targets[k].outputs
            found[i, k] = not any(follows(name, o) or stem(name, SIDES) == stem(o, SIDES) for o in outputs)
        return found

    @cached_property
    def sized(self) -> Mask:
        """The pairs whose input is of one size at every call, or of which a name says that it is a state: an input of any
        length looks like one where two signals meet."""
        fixed = np.array([name not in self.of_any_length for name in self.inputs], np.bool_)
        found: Mask = fixed[:, None] | self.witnesses
        return found

    def _holds(self, place: Place, name: str) -> bool:
        state, value = self.fact(name), self.fact(place.output)
        shape = value.shape if place.part is None else cut(value.shape, place.part)
        return state.dtype == value.dtype and bare(state.shape) == bare(shape)

    def reaches(self, name: str, target: int) -> bool:
        return self.level(name, target) <= ANY

    def alone(self, name: str, target: int) -> bool:
        """Does a target depend on this input and nothing else."""
        levels = self.paths.level.get(self.targets[target].value)
        return levels is not None and levels[self.index[name]] != UNREACHED and int((levels != UNREACHED).sum()) == 1

    def exposed(self, target: int) -> bool:
        """Is another output computed from what this one holds, or the same value."""
        return len(self.targets[target].places) > 1 or bool(self.behind[target])

    def confined(self, behind: Collection[str]) -> Mask:
        """Which targets each input reaches, where nothing passes these values."""
        spend("the states", PASS * len(self.walked.nodes))
        stop = {*behind, *(self.alike[value] for value in behind if value in self.alike)}
        live: dict[str, int] = {name: 1 << k for k, name in enumerate(self.fed) if name not in stop}
        for node in self.walked.nodes:
            bits = 0
            for value in node.inputs:
                bits |= live.get(value, 0)
            if bits:
                live.update((v, bits) for v in node.outputs if v and v not in stop)
        return grid.unpacked([live.get(target.value, 0) for target in self.targets], len(self.fed))[self._columns]

    # ---- names ----------------------------------------------------------------------------------------------

    def rhymes(self, name: str, target: int) -> bool:
        return any(rhymes(name, output) for output in self.targets[target].outputs)

    def witnessed(self, name: str, target: int) -> bool:
        """Does one of the two names say that it holds a state."""
        outputs = self.targets[target].outputs
        return says_state(name) or any(says_state(o) or follows(name, o) for o in outputs)

    def named_after(self, name: str, target: int) -> bool:
        """Does the input say that it holds a state, and an output that it is the next one of that name."""
        outputs = self.targets[target].outputs
        return says_state(name) and any(follows(name, o) or rhymes(name, o) for o in outputs)

    def place(self, name: str, target: int) -> Place:
        """Of several outputs that hold one value the rhyming one, else the one that says, else a part, else one of the very
        shape, else the last."""
        places = self.targets[target].places
        if len(places) == 1:
            return places[0]
        places = tuple(place for place in places if self._holds(place, name))

        def rank(at: int) -> tuple[int, bool, bool, bool, int]:
            one = places[at]
            alike = self.fact(one.output).shape == self.fact(name).shape
            return affinity(name, one.output), says_state(one.output), one.part is not None, alike, at

        return places[max(range(len(places)), key=rank)]


def set_scene(
    fed: Sequence[str],
    of_any_length: Collection[str],
    outputs: Sequence[str],
    walked: Walk,
    streamed: Collection[str],
    sequences: Collection[str],
    whole: Collection[str] = (),
) -> Scene:
    """The candidates of a model: inputs without time that are no scalars of floats, and what the outputs hold, those of
    `whole` as they are."""
    walked = _plain(walked)
    inputs = [name for name in fed if name not in streamed and _may_be(walked.facts[name])]
    shapes = {bare(walked.facts[name].shape) for name in inputs}
    targets = find_targets([o for o in outputs if walked.facts[o].const is None], walked, shapes, whole)
    makers = makers_of(walked)
    sequences_of = {root(n.outputs[0], makers, walked): n.outputs[0] for n in walked.nodes if only_step(n, walked)}
    alike = {last: first for last, first in sequences_of.items() if first and last != first}
    return Scene(
        walked, tuple(fed), tuple(inputs), tuple(targets), find_paths(walked, fed), not streamed, frozenset(sequences),
        frozenset(of_any_length), makers, {name: k for k, name in enumerate(fed)}, _behind(walked, targets, alike), alike,
    )  # fmt: skip


def _plain(walked: Walk) -> Walk:
    """The same, where a Cast to the type that a value has is an Identity."""

    def plain(node: Node) -> Node:
        kinds = {walked.facts[v].dtype for v in (*node.inputs[:1], *node.outputs) if v}
        if registry.moves(node) != "cast" or len(kinds) > 1:
            return node
        return Node("Identity", node.name, node.inputs[:1], node.outputs[:1], opset=node.opset)

    return replace(walked, nodes=[plain(node) for node in walked.nodes])


def _behind(walked: Walk, targets: Sequence[Target], alike: Mapping[str, str]) -> tuple[frozenset[int], ...]:
    """For each target the others that are computed from what it holds."""
    live: dict[str, int] = {}
    for k, target in enumerate(targets):
        for value in target.cores:
            for name in (value, alike.get(value, value)):
                live[name] = live.get(name, 0) | 1 << k
    for node in walked.nodes:
        bits = 0
        for value in node.inputs:
            bits |= live.get(value, 0)
        if bits:
            live.update((v, live.get(v, 0) | bits) for v in node.outputs if v)
    ends = [live.get(target.value, 0) for target in targets]
    return tuple(frozenset(j for j, bits in enumerate(ends) if bits >> k & 1 and j != k) for k in range(len(targets)))


def _may_be(fact: Fact) -> bool:
    return fact.dtype.kind in "iu" or (fact.dtype.kind == "f" and bool(fact.shape))
