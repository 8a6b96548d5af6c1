"""Which sizes the inputs have where the file leaves them open: solved from what the graph says.

Open axes start at sizes that tell them apart. Where the walk stops, the node that stops it is asked (`misfit`) which
extents its own shape rule would take; an input axis that has the extent which does not fit is given the one that does,
or is found by how that extent follows the size of each axis. So sizes come from weights and constants, through whatever
stands between, and axes that have to agree are found to be one. The walk at the new sizes shows whether that was right.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BudgetError, LstmInferError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import recurrent
from ..walk.walk import Walk, walk
from .misfit import Fix, fixes

__all__ = ["FirstWalk", "Misfit", "Place", "first_key", "first_walk", "sizes_of", "sizes_that_fit"]

Place = tuple[str, int]
"""An axis of an input."""

START = (37, 41, 43, 47, 59, 61, 67, 71, 73, 79, 83)
"""Sizes that open axes start at: wide, for a time axis that is shorter than the windows over it shrinks to one step and
looks like samples inside a frame."""

MULTIPLES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Sizes are raised to a multiple of these where two roundings of one size have to agree."""
MOST_STRIDE = 4
MOST_WALKS = 96
"""So often a graph is walked for its open sizes."""
MOST_NODES = 100_000
"""So many nodes are met in all these walks, before another one is begun."""


@frozen
class FirstWalk:
    """A walk at sizes that fit."""

    walked: Walk
    sizes: dict[Place, int]
    """Extents of the axes that the file leaves open."""
    known: frozenset[Place] = frozenset()
    """Those that weights and constants say: no other extent walks."""


@frozen
class Misfit:
    """Why there is no such walk."""

    text: str
    sure: bool = False
    """No size of an open axis can help: the graph contradicts itself."""


@frozen
class _Stop:
    """Where a walk stopped."""

    error: ShapeError
    node: Node | None
    ins: list[Fact | None]
    met: int
    """Nodes met before."""


@frozen
class _Sizes:
    """Sizes of the open axes: groups of axes that are one, and the size of each."""

    groups: tuple[tuple[Place, ...], ...]
    sizes: tuple[int, ...]
    order: tuple[Place, ...]
    """All places, in the order of the inputs."""

    def flat(self) -> dict[Place, int]:
        found = {place: size for places, size in zip(self.groups, self.sizes, strict=True) for place in places}
        return {place: found[place] for place in self.order}

    def at(self, group: int, size: int) -> _Sizes:
        """One group has another size."""
        return replace(self, sizes=(*self.sizes[:group], size, *self.sizes[group + 1 :]))

    def joined(self, group: int, into: int) -> _Sizes:
        """One group joins another, and takes its size."""
        both = {into: (*self.groups[into], *self.groups[group])}
        kept = [i for i in range(len(self.groups)) if i != group]
        return replace(
            self,
            groups=tuple(both.get(i, self.groups[i]) for i in kept),
            sizes=tuple(self.sizes[i] for i in kept),
        )

    def factors(self, extent: int) -> list[int]:
        """The groups whose sizes, which are told apart, multiply to an extent; none where there are no such."""
        found = [i for i, size in enumerate(self.sizes) if size > 1 and extent % size == 0]
        return found if prod(self.sizes[i] for i in found) == extent else []


def first_walk(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> FirstWalk | Misfit:
    """A walk at the declared sizes, and at sizes of the open axes that fit; or why there is none."""
    if any(port.shape is None for port in inputs):
        return Misfit("an input has no declared rank")
    if graph.walks is None:
        return _searched(graph, inputs, constants)
    key, held = first_key(inputs, constants), list(constants.values())
    found: FirstWalk | Misfit = graph.walks.once(graph, key, held, lambda: _searched(graph, inputs, constants))
    return found


def first_key(inputs: Sequence[Port], constants: Mapping[str, Array]) -> Hashable:
    """Of what the first walk depends on beside the graph."""
    return "first walk", tuple(inputs), frozenset((name, id(array)) for name, array in constants.items())


def _searched(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> FirstWalk | Misfit:
    found = _Search(graph, inputs, constants).solve(_start(inputs))
    named = isinstance(found, Misfit) or _one_name_twice(inputs, found.known)
    if named and len(set(_names(inputs))) != len(_places(inputs)):
        apart = _Search(graph, inputs, constants).solve(_start(inputs, by_name=False))  # names may be wrong
        if isinstance(apart, FirstWalk):
            return apart
        return replace(found, sure=found.sure and apart.sure) if isinstance(found, Misfit) else found
    return found


def _by_weights(graph: Graph) -> dict[Place, tuple[Node, int]]:
    """Axes that meet the weights of a recurrence directly: features of X, units and directions of a first state. Nothing
    has to be searched there."""
    found: dict[Place, tuple[Node, int]] = {}
    for node in graph.walk():
        consts = [graph.consts.get(name) for name in node.inputs[:3]]
        w, r = (consts + [None] * 3)[1:3]
        if not recurrent.is_recurrent(node) or w is None or r is None or w.ndim != 3 or r.ndim != 3:
            continue
        found[node.inputs[0], 2] = node, w.shape[2]
        for _, index, _ in recurrent.states(node):
            if index < len(node.inputs) and node.inputs[index]:
                found[node.inputs[index], 2] = node, r.shape[2]
                found[node.inputs[index], recurrent.direction_axis(node)] = node, r.shape[0]
    return found


def sizes_of(inputs: Sequence[Port], places: Collection[Place], arrays: Mapping[str, ArrayLike]) -> dict[Place, int]:
    """Extents of these open axes as given arrays have them: also of the others that the file calls by the same name."""
    found, named = {}, {}
    open_axes = [
        (port.name, axis, size if isinstance(size, str) else "", len(port.shape or ()))
        for port in inputs
        for axis, size in enumerate(port.shape or ())
        if (port.name, axis) in places
    ]
    for name, axis, symbol, rank in open_axes:
        shape = np.shape(arrays[name]) if name in arrays else ()
        if len(shape) == rank:
            found[name, axis] = named[symbol] = shape[axis]
    same = {(name, axis): named[symbol] for name, axis, symbol, _ in open_axes if symbol and symbol in named}
    return {**same, **found}


def sizes_that_fit(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], bound: Mapping[str, Array]
) -> dict[Place, int] | None:
    """Extents of open axes at which the graph walks with these inputs known: a network that they choose may want other
    sizes than the one chosen before. None: there are none."""
    others = [port for port in inputs if port.name not in bound]
    found = first_walk(graph, others, {**constants, **bound})
    return found.sizes if isinstance(found, FirstWalk) else None


def _places(inputs: Sequence[Port]) -> list[Place]:
    return [(p.name, a) for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)]


def _names(inputs: Sequence[Port]) -> list[str]:
    """What the file calls each open axis."""
    return [n if n else f"{p.name}.{a}" for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)]


def _one_name_twice(inputs: Sequence[Port], known: Collection[Place]) -> bool:
    """Is an axis whose size the weights say called like another axis of the same input."""
    shapes = {port.name: port.shape or () for port in inputs}
    return any(shapes[name].count(shapes[name][axis]) > 1 for name, axis in known if shapes[name][axis])


def _start(inputs: Sequence[Port], *, by_name: bool = True) -> _Sizes:
    """Sizes that tell the open axes apart; axes of one name are one."""
    groups: dict[str, list[Place]] = {}
    for place, name in zip(_places(inputs), _names(inputs), strict=True):
        groups.setdefault(name if by_name else str(place), []).append(place)
    sizes = (START + tuple(range(START[-1] + 2, START[-1] + 2 + 2 * len(groups), 2)))[: len(groups)]
    return _Sizes(tuple(map(tuple, groups.values())), sizes, tuple(_places(inputs)))


@dataclass
class _Search:
    """Walks one graph until its open sizes fit."""

    graph: Graph
    inputs: Sequence[Port]
    constants: Mapping[str, Array]
    walks: int = 0
    met: int = 0
    """Nodes met in all walks."""
    wanted_by: dict[Place, tuple[Node, int]] = field(default_factory=dict)
    """Places whose size one node takes at one extent only: the node, and the size."""

    def solve(self, sizes: _Sizes) -> FirstWalk | Misfit:
        """From these sizes on, one node after the other."""
        for place, (node, size) in _by_weights(self.graph).items():
            for group, places in enumerate(sizes.groups):
                if place in places:
                    sizes = sizes.at(group, size)
                    self.wanted_by |= dict.fromkeys(places, (node, size))
        sizes = self.apart_from_known(sizes)
        at = self.walk(sizes)
        while isinstance(at, _Stop):
            if not sizes.groups:
                return Misfit(str(at.error), self.decides(at))
            found = self.mended(sizes, at)
            if found is None:
                return self.stuck(sizes, at)
            sizes, at = found
        return FirstWalk(at, sizes.flat(), frozenset(self.wanted_by))

    def apart_from_known(self, sizes: _Sizes) -> _Sizes:
        """No axis that is searched for has the size that the weights say of another: it would be taken for that one."""
        known = [g for g, places in enumerate(sizes.groups) if places[0] in self.wanted_by]
        taken = {sizes.sizes[g] for g in known}
        for group, size in enumerate(sizes.sizes):
            if size in taken and group not in known:
                free = (n for n in START if n not in sizes.sizes)
                sizes = sizes.at(group, next(free, size))
        return sizes

    def walk(self, sizes: _Sizes) -> Walk | _Stop:
        """Walk the graph, or find where it stops."""
        self.walks += 1
        met: list[tuple[Node, list[Fact | None]]] = []
        try:
            return walk(self.graph, self.feeds(sizes.flat()), on_node=lambda node, ins: met.append((node, ins)))
        except ShapeError as error:
            node, ins = met[-1] if met else (None, [])
            return _Stop(error.kept(), node, ins, len(met))
        finally:
            self.met += len(met)

    def feeds(self, sizes: Mapping[Place, int]) -> dict[str, Fact]:
        """Facts of all inputs."""
        facts = {name: Fact.of(array) for name, array in self.constants.items()}
        for port in self.inputs:
            shape = tuple(n if isinstance(n, int) else sizes[port.name, a] for a, n in enumerate(port.shape or ()))
            facts[port.name] = Fact(shape, port.dtype)
        return facts

    def again(self, sizes: _Sizes) -> Walk | _Stop | None:
        """The same at sizes that are only a try: None where it fails for another reason, or was walked often enough."""
        if self.walks >= MOST_WALKS or self.met >= MOST_NODES:
            return None
        try:
            return self.walk(sizes)
        except BudgetError:
            raise
        except LstmInferError:
            return None

    def mended(self, sizes: _Sizes, stop: _Stop) -> tuple[_Sizes, Walk | _Stop] | None:
        """Sizes at which the walk comes further."""
        if stop.node is None:
            return None
        for said in (True, False):
            offers = fixes(stop.node, stop.ins, said=said)
            for tries in (self.direct, self.followed):
                for fix in offers:
                    for group, other in tries(sizes, stop, fix):
                        at = self.again(other)
                        fewer = len(other.groups) < len(sizes.groups)
                        if at is None or not (isinstance(at, Walk) or _further(at, stop, fix, joined=fewer)):
                            continue
                        if fix.only and fix.const:
                            self.wanted_by |= dict.fromkeys(other.groups[group], (stop.node, other.sizes[group]))
                        return (None if fewer else self.told_apart(other, group)) or (other, at)
        return None

    def told_apart(self, sizes: _Sizes, group: int) -> tuple[_Sizes, Walk | _Stop] | None:
        """Where a size that was found is that of another axis by chance, the other gets a new one."""
        others = [g for g, n in enumerate(sizes.sizes) if g != group and n == sizes.sizes[group]]
        others = [g for g in others if sizes.groups[g][0] not in self.wanted_by]
        if not others or sizes.sizes[group] not in START:
            return None
        for g in others:
            sizes = sizes.at(g, next((n for n in START[::-1] if n not in sizes.sizes), sizes.sizes[g]))
        at = self.again(sizes)
        return None if at is None else (sizes, at)

    def direct(self, sizes: _Sizes, stop: _Stop, fix: Fix) -> Iterator[tuple[int, _Sizes]]:
        """Sizes are told apart: what has the extent that does not fit, or a factor of it, is the axis."""
        wanted = [] if fix.const and fix.only else sizes.factors(fix.wanted)
        for got in (sizes.factors(fix.got), [g for n in _shape(stop, fix) for g in sizes.factors(n)]):
            if len(wanted) == len(got) and not set(wanted) & set(got):
                joined = sizes
                for a, b in sorted(((max(p), min(p)) for p in zip(got, wanted, strict=True)), reverse=True):
                    joined = joined.joined(a, b)
                if got:
                    yield min(*got, *wanted), joined
        for group in sizes.factors(fix.got):
            if sizes.sizes[group] == fix.got:
                yield group, sizes.at(group, fix.wanted)

    def followed(self, sizes: _Sizes, stop: _Stop, fix: Fix) -> Iterator[tuple[int, _Sizes]]:
        """How the extent that does not fit, and the one that is wanted, follow each size."""
        slopes: dict[int, float] = {}
        rounded: list[int] = []
        for group, size in enumerate(sizes.sizes):
            step = size + 1
            at = self.again(sizes.at(group, size + step))
            moved = _moved(at, stop, fix)
            if moved is not None and moved[0] - moved[1] != fix.got - fix.wanted:
                slopes[group] = ((moved[0] - moved[1]) - (fix.got - fix.wanted)) / step
            elif moved is not None and moved != (fix.got, fix.wanted):
                rounded.append(group)
            elif isinstance(at, Walk) or (at is not None and at.node is not stop.node and at.met > stop.met):
                yield group, sizes.at(group, size + step)
        against = [(a, b) for a in slopes for b in slopes if a < b and slopes[a] == -slopes[b]]
        for a, b in against:
            yield a, sizes.joined(b, a)
        for group, slope in slopes.items():
            size = sizes.sizes[group] + round((fix.wanted - fix.got) / slope)
            below = min(round(1 / abs(slope)), MOST_STRIDE) - 1  # of those that a stride makes equal, the smallest
            for n in range(max(size - max(below, 0), 1), max(size, 1) + 1):
                if n != sizes.sizes[group]:
                    yield group, sizes.at(group, n)
        if len(slopes) > 1 and all(slope > 0 for slope in slopes.values()):
            yield self.shared(sizes, fix, slopes)
        for group in rounded:  # both sides follow it, rounded differently
            size = sizes.sizes[group]
            for n in sorted({size + -size % multiple for multiple in MULTIPLES} - {size}):
                yield group, sizes.at(group, n)

    def shared(self, sizes: _Sizes, fix: Fix, slopes: Mapping[int, float]) -> tuple[int, _Sizes]:
        """An extent that is a sum over several axes: equal ones, any that give it would do."""
        share = max(int(fix.wanted / sum(slopes.values())), 1)
        first, *others = slopes
        for group in others:
            sizes = sizes.at(group, share)
        rest = fix.wanted - sum(slopes[g] * share for g in others)
        return first, sizes.at(first, max(round(rest / slopes[first]), 1))

    def decides(self, stop: _Stop) -> bool:
        """Does every run come to this node: it lies in no branch and no loop, and no input may be fed or left away."""
        return not self.graph.defaults and any(node is stop.node for node in self.graph.nodes)

    def stuck(self, sizes: _Sizes, stop: _Stop) -> Misfit:
        """Nothing helps. Is it sure: at each size of each open axis that reaches it, the node stops the walk, or another
        one does that takes only the size the axis has now."""
        blamed, sure = [], self.decides(stop)
        offers = fixes(stop.node, stop.ins, said=True) if sure and stop.node is not None else []
        for group, size in enumerate(sizes.sizes) if sure else ():
            place = sizes.groups[group][0]
            node = self.wanted_by.get(place, (None, 0))[0]
            for other in (size + 1, 2 * size + 1):
                at = self.again(sizes.at(group, other))
                if not isinstance(at, _Stop):
                    sure = False
                elif node is not None and at.node is node and node is not stop.node:
                    blamed.append(f"axis {place[1]} of input {place[0]!r} is {size}, for so {node} takes it")
                elif offers:
                    sure &= all(_moved(at, stop, fix) == (fix.got, fix.wanted) for fix in offers)
                else:
                    sure &= at.node is stop.node and _extents(at) == _extents(stop)
        shown = ", ".join(f"{name!r} axis {axis}: {size}" for (name, axis), size in sizes.flat().items())
        tried = "" if sure else f" (open sizes, tried at {shown} first, and at others in {self.walks} walks)"
        return Misfit("; ".join([f"{stop.error}{tried}", *dict.fromkeys(blamed)]), sure)


def _shape(stop: _Stop, fix: Fix) -> tuple[int, ...]:
    fact = stop.ins[fix.input]
    return () if fact is None else fact.shape


def _extents(stop: _Stop) -> list[tuple[int, ...] | None]:
    return [None if fact is None else fact.shape for fact in stop.ins]


def _moved(at: Walk | _Stop | None, stop: _Stop, fix: Fix) -> tuple[int, int] | None:
    """What the same node has and wants now; None where the walk stopped elsewhere."""
    if not isinstance(at, _Stop) or at.node is None or stop.node is None or at.node.name != stop.node.name:
        return None
    shape = _shape(at, fix)
    if len(shape) <= fix.axis:
        return None
    if fix.const:
        return shape[fix.axis], fix.wanted
    for said in (True, False):
        same = [f for f in fixes(at.node, at.ins, said=said) if (f.input, f.axis) == (fix.input, fix.axis)]
        if same:
            return same[0].got, same[0].wanted
    return shape[fix.axis], fix.wanted


def _further(at: _Stop, stop: _Stop, fix: Fix, *, joined: bool) -> bool:
    """Did the walk come further than before, or closer to what its node wants; `joined`: with axes that became one, of
    which there is an end."""
    if at.node is None or stop.node is None or at.node.name != stop.node.name:
        return at.met > stop.met
    if joined:
        return True
    moved = _moved(at, stop, fix)
    return moved is not None and abs(moved[0] - moved[1]) < abs(fix.got - fix.wanted)
