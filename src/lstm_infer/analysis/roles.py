"""Which input axes are time and batch, and at which sizes a model runs.

Declared sizes are not trusted: an axis counts as open when walking the graph at two other sizes succeeds. The time
axis is found by tracing each recurrence's sequence axis back to a graph input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import LstmInferError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import carries, recurrent
from ..ops.control import Choice
from ..walk.walk import Walk, walk
from .axes import trace
from .free import BATCH_PROBES, LONG_PROBES, PROBES, free_sizes
from .labels import Trace
from .sizes import FirstWalk, Place, first_walk

__all__ = ["Roles", "compared_with", "find_roles"]

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
    bases: dict[Place, int] = field(default_factory=dict)
    """Input axes that are one time at different paces, with their extents in one call; empty where there are none."""
    sequences: frozenset[str] = frozenset()
    """Inputs along which some recurrence runs, chosen as time or not."""
    open_sizes: dict[Place, int] = field(default_factory=dict)
    """Extents tried for open axes that are neither time nor batch."""
    switches: list[dict[str, Array]] = field(default_factory=list)
    """Values of scalar inputs that choose between networks, one for every choice; empty where none does."""
    walkable: str = ""
    """Empty, or why no walk succeeded."""
    known_sizes: frozenset[Place] = frozenset()
    """Open axes whose extent weights and constants say."""
    contradicts: bool = False
    """No walk can succeed, whatever the open sizes are."""

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

    def stay_open(self) -> list[Place]:
        """Axes whose size the file leaves open, and which are neither time nor batch."""
        return [
            place for place in self.open_sizes if place[1] not in (self.time.get(place[0]), self.batch.get(place[0]))
        ]

    def without_states(self, pairs: Collection[str]) -> Roles:
        """The same, when it is known which inputs are states: what they have is not time."""
        return replace(self, time={name: axis for name, axis in self.time.items() if name not in pairs})

    def shown_sizes(self) -> dict[str, str]:
        """Inputs with open axes, as text with a name or a letter in place of each: "(T, 1, F)"."""
        shapes = {
            p.name: p.shape for p in self.inputs if p.shape is None or not all(isinstance(n, int) for n in p.shape)
        }
        return {
            name: "(...)" if shape is None else f"({', '.join(str(n or 'N') for n in shape)}{',' * (len(shape) == 1)})"
            for name, shape in shapes.items()
        }

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


def _first_walk(roles: Roles) -> tuple[Walk, Trace] | None:
    """A walk at sizes that fit; where there is none, `walkable` says why."""
    first = first_walk(roles.graph, roles.inputs, roles.constants)
    if not isinstance(first, FirstWalk):
        roles.walkable, roles.contradicts = first.text, first.sure
        return None
    roles.open_sizes, roles.known_sizes = first.sizes, first.known
    return first.walked, trace(roles.inputs, first.walked)


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
        if len({walked.facts[name].shape[a] for name, a in places}) > 1:
            roles.bases = {(name, a): walked.facts[name].shape[a] for name, a in places}
            continue  # one time, at different paces
        place = dict(places)
        if extent == 1 and not _grows(roles, walked, node, place):
            continue  # at one step several axes look alike
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


def _grows(roles: Roles, walked: Walk, node: Node, place: AxisOf) -> bool:
    """Does a recurrence run over more steps where these axes are longer; yes, where that cannot be walked."""
    facts = {port.name: walked.facts[port.name] for port in roles.inputs}
    facts |= {name: Fact.of(array) for name, array in roles.constants.items()}
    for name, axis in place.items():
        shape = facts[name].shape
        facts[name] = Fact((*shape[:axis], PROBES[0], *shape[axis + 1 :]), facts[name].dtype)
    try:
        again = walk(roles.graph, facts)
    except LstmInferError:
        return True
    same = next((one for one in again.nodes if one.name == node.name), None)
    if same is None:
        return True
    return any(again.facts[same.inputs[i]].shape[axis] == PROBES[0] for i, axis in carries.runs_over(same))


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
    if not roles.batch:
        roles.batch = _leading(roles, traced)
    if not any(name in roles.batch for name in roles.time):
        _batch_by_name(roles)


def _leading(roles: Roles, traced: Trace) -> AxisOf:
    """Where no recurrent operator tells: the leading axis of an input that leads an output too. Of several the one that
    most outputs and inputs have, whatever their order."""
    found: dict[int, AxisOf] = {}
    ranks: dict[int, tuple[int, int]] = {}
    shapes = {port.name: port.shape or () for port in roles.inputs}
    for port in roles.inputs:
        shape = port.shape or ()
        label = traced.axes[port.name][0][0].label if shape and port.name in traced.axes else 0
        if not label or roles.time.get(port.name) == 0 or not (shape[0] in (1, None) or isinstance(shape[0], str)):
            continue
        label = traced.root(label)
        ends = sum(traced.find(output.name, label) == 0 for output in roles.graph.outputs)
        if ends:
            places = {name: a for name, a in traced.inputs_of(label) if roles.time.get(name) != a}
            if len({n for name, a in places.items() if isinstance(n := shapes[name][a], int)}) > 1:
                continue  # a size of 1 that is stretched over an axis of several: no batch that could grow
            found[label] = {**_called(roles, shape[0]), **places, **found.get(label, {})}
            ranks[label] = (ends, len(places))
    best = max(ranks, key=lambda label: ranks[label], default=0)
    return found.get(best, {})


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
            others = [a for a in range(len(port.shape)) if a != roles.time[port.name]]
            others = [a for a in others if (port.name, a) not in roles.known_sizes]
            names = [n for a in others if isinstance(n := port.shape[a], str) and n]
            if len(names) == 1:
                roles.batch |= _called(roles, names[0])


def _called(roles: Roles, name: int | str | None) -> AxisOf:
    """The axes of all inputs that the file calls by one name; none where it is no name."""
    if not name or not isinstance(name, str):
        return {}
    return {p.name: p.shape.index(name) for p in roles.inputs if p.shape and name in p.shape}


def _free_sizes(roles: Roles) -> None:
    """Is the graph right at other sizes? Where not, the declared ones are the only ones."""
    found = free_sizes(
        roles.walk,
        _declared(roles, roles.time, roles.open_sizes),
        _declared(roles, roles.batch, roles.open_sizes),
        timed=bool(roles.time),
        batched=bool(roles.batch),
        declared=any(
            isinstance((p.shape or ())[roles.time[p.name]], int) for p in roles.inputs if p.name in roles.time
        ),
        tried=roles.open_sizes.get(next(iter(roles.time.items()), ("", 0)), 1),
    )
    roles.time_size, roles.batch_size, roles.probes = found.time, found.batch, found.probes
    for place, (size, _) in roles.graph.fixed.items():  # a number that may be this size or the model's own
        roles.time_size = size if place in roles.time.items() else roles.time_size
        roles.batch_size = size if place in roles.batch.items() else roles.batch_size


def _declared(roles: Roles, axes: AxisOf, tried: Mapping[Place, int]) -> int | None:
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
