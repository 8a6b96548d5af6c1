"""Which input axes are time and batch, and at which sizes a model runs.

Declared sizes are not trusted: an axis counts as open when walking the graph at two other sizes succeeds. The time
axis is found by tracing each recurrence's sequence axis back to a graph input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from ..errors import LstmInferError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import carries, recurrent
from ..ops.control import Choice
from ..walk.walk import Walk, walk
from .axes import Trace, links, trace

__all__ = ["Roles", "compared_with", "find_roles", "sizes_of", "sizes_that_fit"]

PROBES = (37, 53)
"""Time extents at which a model is analysed: primes, larger than the windows of usual convolutions."""
LONG_PROBES = ((521, 769), (4099, 6151), (32771, 49157))
"""The same for windows that are longer: samples under a front end that makes frames of them."""
BATCH_PROBES = (3, 5)

_WIDE = (37, 41, 43, 47, 59, 61, 67, 71, 73, 79, 83)
_NARROW = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
FRAME_SIZES = (128, 512, 1024, 4096)
"""Extents tried for open axes where smaller ones are too short for the model's windows: samples of a frame."""

_SIZES = (
    _WIDE, *((base, *_NARROW) for base in (37, 1, 6, *FRAME_SIZES)), *((base,) for base in (37, 1, 6, *FRAME_SIZES))
)  # fmt: skip
"""Sizes tried for open axes. Distinct and wide ones first: a time axis that is shorter than the windows over it shrinks
to one step and looks like samples inside a frame. All equal last: for axes that have to agree without saying so."""

SWITCHES = 16
"""Most settings of the scalar inputs that are tried."""

AxisOf = dict[str, int]


@dataclass
class Roles:
    """The axes of a model's inputs, by what they mean."""

    graph: Graph
    inputs: list[Port]
    """Fed inputs; shapes with the sizes that the caller fixed."""
    constants: dict[str, Array]
    time: AxisOf = field(default_factory=dict)
    """Input to its time axis."""
    batch: AxisOf = field(default_factory=dict)
    time_size: int | None = None
    """The one extent of time the model runs at; None: any."""
    batch_size: int | None = None
    probes: tuple[int, int] = PROBES
    """Time extents at which the graph walks, where it is free."""
    runs_over: list[dict[str, int]] = field(default_factory=list)
    """Input axes that recurrences run over, whatever the caller chose as time."""
    candidates: list[dict[str, int]] = field(default_factory=list)
    """Every independent time axis that was found; streaming needs exactly one."""
    sequences: frozenset[str] = frozenset()
    """Inputs along which some recurrence runs, chosen as time or not."""
    open_sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    """Extents tried for open axes that are neither time nor batch."""
    switches: list[dict[str, Array]] = field(default_factory=list)
    """Values of scalar inputs that choose between networks, one for every choice; empty where none does."""
    walkable: str = ""
    """Empty, or why no walk succeeded."""

    def feeds(self, T: int, B: int) -> dict[str, Fact]:
        """Facts of all inputs at these sizes."""
        facts = {name: Fact.of(array) for name, array in self.constants.items()}
        for port in self.inputs:
            if port.shape is None:
                raise ShapeError(f"input {port.name!r} has no declared shape; give one with load(..., inputs={{...}})")
            shape = []
            for axis, size in enumerate(port.shape):
                if self.time.get(port.name) == axis:
                    shape.append(T)
                elif self.batch.get(port.name) == axis:
                    shape.append(B)
                elif isinstance(size, int):
                    shape.append(size)
                else:
                    shape.append(self.open_sizes.get((port.name, axis), 1))
            facts[port.name] = Fact(tuple(shape), port.dtype)
        return facts

    def opens(self, name: str, axis: int) -> bool:
        """Is this axis right at any size: time or batch, not frozen."""
        if self.batch.get(name) == axis:
            return self.batch_size is None
        several = len(self.runs_over) > 1 and any(places.get(name) == axis for places in self.runs_over)
        return several or (self.time.get(name) == axis and self.time_size is None)

    def one_step(self) -> bool:
        """Does the file declare one time step, wherever there is time."""
        declared = {p.name: p.shape for p in self.inputs if p.name in self.time and p.shape is not None}
        return self.time_size is None and all(shape[self.time[name]] == 1 for name, shape in declared.items())

    def walk(self, T: int, B: int) -> Walk:
        """Walk the graph at these sizes."""
        return walk(self.graph, self.feeds(T, B))

    def analysis_sizes(self) -> tuple[int, int]:
        """Sizes for analysis: distinctive where they are free."""
        return self.time_size or self.probes[0], self.batch_size or BATCH_PROBES[0]


def find_roles(
    graph: Graph,
    inputs: Sequence[Port],
    constants: Mapping[str, Array],
    time_axis: Mapping[str, int] | None,
) -> Roles:
    """Find the roles of all input axes. Never fails: a model that no walk fits has `walkable` set."""
    roles = Roles(graph, list(inputs), dict(constants))
    first = _first_walk(roles)
    if first is None:
        return roles
    walked, traced = first
    _find_time(roles, walked, traced, time_axis)
    if not roles.runs_over and time_axis is None:
        walked, traced = _under_long_windows(roles, walked, traced)
    _find_batch(roles, walked, traced)
    if not roles.time and any(isinstance(node, Choice) for node in walked.nodes):
        _behind_switches(roles)
    _free_sizes(roles)
    return roles


def sizes_of(roles: Roles, arrays: Mapping[str, ArrayLike]) -> dict[tuple[str, int], int]:
    """Extents of open axes that are neither time nor batch, as given arrays have them: also of the other axes that the
    file calls by the same name."""
    found, named = {}, {}
    places = [
        (port.name, axis, size if isinstance(size, str) else "", len(port.shape or ()))
        for port in roles.inputs
        for axis, size in enumerate(port.shape or ())
        if (port.name, axis) in roles.open_sizes and axis not in (roles.time.get(port.name), roles.batch.get(port.name))
    ]
    for name, axis, symbol, rank in places:
        shape = np.shape(arrays[name]) if name in arrays else ()
        if len(shape) == rank:
            found[name, axis] = named[symbol] = shape[axis]
    same = {(name, axis): named[symbol] for name, axis, symbol, _ in places if symbol and symbol in named}
    return {**same, **found}


def sizes_that_fit(roles: Roles, bound: Mapping[str, Array]) -> dict[tuple[str, int], int] | None:
    """Extents of open axes at which the graph walks with these inputs known: a network that they choose may want other
    sizes than the one chosen before. None: there are none."""
    other = replace(roles, constants={**roles.constants, **bound}, open_sizes={})
    other.inputs = [port for port in roles.inputs if port.name not in bound]
    return None if _first_walk(other) is None else other.open_sizes


def _first_walk(roles: Roles) -> tuple[Walk, Trace] | None:
    """A walk at declared sizes, open axes at sizes that tell them apart, or else all equal."""
    failure = "an input has no declared rank"
    known = _sizes_by_weights(roles.graph, roles.inputs)
    for primes, leading in ((_SIZES[0], False), (_SIZES[0], True), *((primes, False) for primes in _SIZES[1:])):
        sizes = _open_sizes(roles.inputs, primes, leading)
        if sizes is None:
            break
        sizes |= {place: n for place, n in known.items() if place in sizes}
        facts = {name: Fact.of(array) for name, array in roles.constants.items()}
        for port in roles.inputs:
            assert port.shape is not None
            shape = [n if isinstance(n, int) else sizes[port.name, a] for a, n in enumerate(port.shape)]
            facts[port.name] = Fact(tuple(shape), port.dtype)
        try:
            walked = walk(roles.graph, facts)
        except ShapeError as error:
            failure = str(error)
            continue
        roles.open_sizes = sizes
        return walked, trace(roles.inputs, walked)
    roles.walkable = failure
    return None


def _sizes_by_weights(graph: Graph, inputs: Sequence[Port]) -> dict[tuple[str, int], int]:
    """Extents of input axes that meet constant weights directly: features of X, units of a first state."""
    rank = {port.name: len(port.shape or ()) for port in inputs}
    found: dict[tuple[str, int], int] = {}
    for node in graph.walk():
        consts = [graph.consts.get(name) for name in node.inputs]
        first = node.inputs[0] if node.inputs else ""
        if recurrent.is_recurrent(node) and len(consts) > 2 and consts[1] is not None and consts[1].ndim == 3:
            found[first, 2] = consts[1].shape[2]
            for _, index, _ in recurrent.states(node):
                if index < len(node.inputs) and consts[2] is not None and consts[2].ndim == 3:
                    found[node.inputs[index], 2] = consts[2].shape[2]
                    found[node.inputs[index], recurrent.direction_axis(node)] = consts[2].shape[0]
        elif (
            node.op == "MatMul" and len(consts) > 1 and consts[1] is not None and consts[1].ndim == 2 and first in rank
        ):
            found[first, rank[first] - 1] = consts[1].shape[0]
    return found


def _open_sizes(inputs: Sequence[Port], primes: Sequence[int], leading: bool) -> dict[tuple[str, int], int] | None:
    """One size for each open axis, the same for axes of one name; the last of `primes` for all that are left. `leading`:
    the first axes of all inputs are one, as Keras means them without saying so."""
    sizes: dict[tuple[str, int], int] = {}
    by_name: dict[str, int] = {}
    for port in inputs:
        if port.shape is None:
            return None
        for axis, size in enumerate(port.shape):
            if not isinstance(size, int):
                key = size if isinstance(size, str) and size else f"{port.name}.{axis}"
                key = "" if leading and axis == 0 else key
                sizes[port.name, axis] = by_name.setdefault(key, primes[min(len(by_name), len(primes) - 1)])
    return sizes


def _recurrences(walked: Walk) -> list[Node]:
    return [node for node in walked.nodes if carries.carries(node)]


def _find_time(roles: Roles, walked: Walk, traced: Trace, given: Mapping[str, int] | None) -> None:
    found: list[AxisOf] = []
    closed: list[AxisOf] = []
    """Axes over which something runs backwards too: inside a frame, where another axis is left for time."""
    for node, source, axis in ((n, n.inputs[i], a) for n in _recurrences(walked) for i, a in carries.runs_over(n)):
        label = traced.alone(source, axis)
        if not label:
            continue
        places = traced.inputs_of(label)
        extent = walked.facts[source].shape[axis]
        if extent == 1 and any(walked.facts[name].shape[a] != 1 for name, a in places):
            continue  # shrunk to one step before the recurrence: samples inside a frame, not time
        place = dict(places)
        if place not in found:
            found.append(place)
        if recurrent.both_ways(node):
            closed.append(place)
    roles.sequences = frozenset(name for place in found for name in place)
    roles.runs_over = found
    if given is not None:
        roles.candidates, roles.time = [dict(given)], dict(given)
    else:
        forward = [place for place in found if place not in closed]
        found = forward if len(forward) == 1 else found
        roles.candidates = found
        if len(found) == 1:
            roles.time = found[0]


def _under_long_windows(roles: Roles, walked: Walk, traced: Trace) -> tuple[Walk, Trace]:
    """Where every recurrence runs over one step and starts from a state of its own: that of an open axis which was too
    short for the windows over it. A state that is fed belongs to a frame, whose samples are not time."""
    nodes = _recurrences(walked)
    if not nodes or any(
        traced.deps.get(n.inputs[i]) for n in nodes for _, i, _ in carries.states(n) if i < len(n.inputs)
    ):
        return walked, traced
    sources = [(n.inputs[i], a) for n in nodes for i, a in carries.runs_over(n)]
    places = {place for source, axis in sources for place in traced.inputs_of(traced.alone(source, axis))}
    shapes = {port.name: port.shape or () for port in roles.inputs}
    if not places or any(isinstance(shapes[name][axis], int) for name, axis in places):
        return walked, traced
    for size, _ in LONG_PROBES[1:]:
        longer = replace(roles, open_sizes={**roles.open_sizes, **dict.fromkeys(places, size)})
        try:
            again = walk(roles.graph, longer.feeds(size, 1))
        except LstmInferError:
            continue
        _find_time(longer, again, trace(roles.inputs, again), None)
        if longer.time and set(longer.time.items()) <= places:
            roles.open_sizes = longer.open_sizes
            roles.time, roles.candidates = longer.time, longer.candidates
            roles.runs_over, roles.sequences = longer.runs_over, longer.sequences
            return again, trace(roles.inputs, again)
    return walked, traced


def _behind_switches(roles: Roles) -> None:
    """Time and batch where scalar inputs choose between networks, and all of these agree."""
    found = []
    for values in _switch_values(roles):
        mine = replace(roles, constants={**roles.constants, **values})
        mine.inputs = [port for port in roles.inputs if port.name not in values]
        mine.time, mine.batch, mine.candidates = {}, {}, []
        first = _first_walk(mine)
        if first is None:
            return
        _find_time(mine, *first, None)
        _find_batch(mine, *first)
        found.append((values, mine))
    if found and all(
        mine.time and (mine.time, mine.batch) == (found[0][1].time, found[0][1].batch) for _, mine in found
    ):
        chosen = found[0][1]
        roles.switches = [values for values, _ in found]
        roles.time, roles.batch = dict(chosen.time), dict(chosen.batch)
        roles.candidates, roles.sequences = list(chosen.candidates), chosen.sequences


def _switch_values(roles: Roles) -> list[dict[str, Array]]:
    """For each scalar input that is compared with constants: those, and one that is none of them."""
    scalars = {p.name: p.dtype for p in roles.inputs if p.shape == () and p.dtype.kind in "iub"}
    found: list[dict[str, Array]] = []
    for name, dtype in scalars.items():
        values = (
            {0, 1} if dtype.kind == "b" else {n + more for n in compared_with(roles.graph, name) for more in (0, 1)}
        )
        made = [{name: np.asarray(value).astype(dtype)} for value in sorted(values)]
        found = [{**a, **b} for a in found for b in made] if found and made else found or made
    return found if len(found) <= SWITCHES else []


def compared_with(graph: Graph, name: str) -> list[int]:
    """The constants that an input is compared with, as the graph meets them: what a switch is likely set to."""
    found: dict[int, None] = {}
    for node in graph.walk():
        if name in node.inputs and node.op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
            consts = [graph.consts[v] for v in node.inputs if v in graph.consts]
            found |= {
                int(const.reshape(-1)[0]): None for const in consts if const.size == 1 and const.dtype.kind in "iu"
            }
    return list(found)


def _find_batch(roles: Roles, walked: Walk, traced: Trace) -> None:
    """The axes along which signals do not meet: no recurrence runs over them."""
    nodes = _recurrences(walked)
    run_over = {traced.alone(node.inputs[i], axis) for node in nodes for i, axis in carries.runs_over(node)}
    labels = []
    for node in nodes:
        place = carries.batch_axis(node)
        label = traced.alone(node.inputs[place[0]], place[1]) if place else 0
        if label and label not in run_over and label not in labels:
            labels.append(label)
    # the bands of a signal may be a recurrence's batch too: what leads is the signals
    for label in sorted(labels, key=lambda one: min(axis for _, axis in traced.inputs_of(one))):
        for name, a in traced.inputs_of(label) if not _bands(roles, traced.inputs_of(label)) else ():
            if roles.time.get(name) != a and _agrees(roles, name, a):
                roles.batch.setdefault(name, a)
    # no recurrent operator: the leading axis, if it reaches an output
    first = roles.inputs[0] if roles.inputs else None
    if not roles.batch and first is not None and first.shape and roles.time.get(first.name) != 0:
        label = traced.axes[first.name][0][0].label if first.name in traced.axes else 0
        reaches = any(traced.find(port.name, label) == 0 for port in roles.graph.outputs) if label else False
        if (reaches and first.shape[0] in (1, None)) or (reaches and isinstance(first.shape[0], str)):
            roles.batch = {name: a for name, a in traced.inputs_of(label) if roles.time.get(name) != a}
            roles.batch |= _called(roles, first.shape[0])
    if not any(name in roles.batch for name in roles.time):
        _batch_by_name(roles)


def _bands(roles: Roles, places: Sequence[tuple[str, int]]) -> bool:
    """Is this an axis of fixed extent behind a leading axis of one signal: bands, not signals."""
    shapes = {port.name: port.shape or () for port in roles.inputs}
    return any(
        name in roles.time
        and a > 0
        and roles.time[name] > 0
        and shapes[name][0] == 1
        and isinstance(shapes[name][a], int)
        for name, a in places
    )


def _agrees(roles: Roles, name: str, axis: int) -> bool:
    """May this axis have the extent of the batch axes found before."""
    shapes = {port.name: port.shape or () for port in roles.inputs}
    sizes = {shapes[other][a] for other, a in [*roles.batch.items(), (name, axis)]}
    return len({n for n in sizes if isinstance(n, int)}) <= 1


def _batch_by_name(roles: Roles) -> None:
    """A batch that is sorted on its way (packed sequences) cannot be followed: the one other open axis of what has
    time, and the axes that the file calls by the same name."""
    for port in roles.inputs:
        if port.name in roles.time and port.shape is not None:
            names = [n for a, n in enumerate(port.shape) if isinstance(n, str) and n and a != roles.time[port.name]]
            if len(names) == 1:
                roles.batch |= _called(roles, names[0])


def _called(roles: Roles, name: int | str | None) -> AxisOf:
    """The axes of all inputs that the file calls by one name; none where it is no name."""
    if not name or not isinstance(name, str):
        return {}
    return {p.name: p.shape.index(name) for p in roles.inputs if p.shape and name in p.shape}


def _free_sizes(roles: Roles) -> None:
    """Is the graph right at other sizes? Where not, the declared ones are the only ones."""
    time_size = _declared(roles, roles.time, roles.open_sizes)
    batch_size = _declared(roles, roles.batch, roles.open_sizes)

    def works(pairs: list[tuple[int, int]]) -> bool:
        try:
            for T, B in pairs:
                roles.walk(T, B)
        except LstmInferError:
            return False
        return True

    B0 = 1 if batch_size is None else batch_size
    if roles.batch:
        T0 = time_size or PROBES[0]
        tries = [(T0, B) for B in BATCH_PROBES]
        if not works(tries) and not (roles.time and works([(PROBES[0], B) for B in BATCH_PROBES])):
            roles.batch_size = B0
    if roles.time:
        B = roles.batch_size or BATCH_PROBES[0]
        fixed = any(isinstance((p.shape or ())[roles.time[p.name]], int) for p in roles.inputs if p.name in roles.time)
        if not fixed and not works([(T, B) for T in PROBES]):
            roles.probes = next((two for two in LONG_PROBES if _runs_long(roles, two, B)), PROBES)
        if not works([(T, B) for T in roles.probes]) or (fixed and _cuts_short(roles, time_size or 0, B)):
            roles.time_size = time_size or roles.open_sizes.get(next(iter(roles.time.items())), 1)


def _runs_long(roles: Roles, probes: tuple[int, int], B: int) -> bool:
    """Does the graph walk at these lengths, with several steps in each recurrence whose length follows them."""
    try:
        short, longer = (roles.walk(T, B) for T in probes)
    except LstmInferError:
        return False
    extents = [
        [w.facts[n.inputs[i]].shape[a] for n in _recurrences(w) for i, a in carries.runs_over(n)]
        for w in (short, longer)
    ]
    return all(a == b or a > 3 for a, b in zip(*extents, strict=True))


def _cuts_short(roles: Roles, T0: int, B: int) -> bool:
    """Does the graph end longer sequences than the exporter's example, of T0 steps, at the same step."""
    try:
        walked, longer = (roles.walk(T0 + T, B) for T in PROBES)
    except LstmInferError:
        return True
    again = {node.name: node for node in longer.nodes}
    for node in walked.nodes:
        if node.op not in ("Slice", "Gather") or node.name not in again:
            continue
        x, y = walked.facts[node.inputs[0]].shape, longer.facts[again[node.name].inputs[0]].shape
        ends = {(k.axis, k.info) for k in links(node, walked) if k.kind == "slice" or (k.kind == "pick" and k.info > 0)}
        ends &= {(k.axis, k.info) for k in links(again[node.name], longer)}
        if any(x[axis] != y[axis] for axis, _ in ends):
            return True
    return False


def _declared(roles: Roles, axes: AxisOf, tried: Mapping[tuple[str, int], int]) -> int | None:
    """The size the file declares for these axes, else the one the first walk succeeded with."""
    for port in roles.inputs:
        if port.name in axes and port.shape is not None:
            size = port.shape[axes[port.name]]
            if isinstance(size, int):
                return size
    for port in roles.inputs:
        if port.name in axes:
            return tried.get((port.name, axes[port.name]))
    return None
