"""Which input axes are time and batch, and at which sizes a model runs.

Declared sizes are not trusted: an axis counts as open when walking the graph at two other sizes succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..graph.ir import Array, Graph, Port
from ..ops.control import Choice
from ..walk.remembered import unchanged
from ..walk.walk import Walk
from .axes import trace
from .batches import find_batch
from .free import FreeSizes, apart, free_sizes, works
from .labels import Trace
from .roles import AxisOf, Roles
from .settings import switch_values
from .sizes import FirstWalk, Place, first_walk
from .times import find_time, under_long_windows

__all__ = ["find_roles"]


def find_roles(
    graph: Graph,
    inputs: Sequence[Port],
    constants: Mapping[str, Array],
    time_axis: Mapping[str, int] | None,
) -> Roles:
    """Find the roles of all input axes. Never fails: a model that no walk fits has `walkable` set."""
    with unchanged(graph):
        return _found(graph, inputs, constants, time_axis)


def _found(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], time_axis: Mapping[str, int] | None
) -> Roles:
    roles = Roles(graph, list(inputs), dict(constants))
    first = _first_walk(roles)
    if first is None:
        return roles
    walked, traced = first
    find_time(roles, walked, traced, time_axis)
    if not roles.runs_over and time_axis is None:
        walked, traced = under_long_windows(roles, walked, traced)
    find_batch(roles, walked, traced)
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
    roles.open_sizes, roles.known_sizes = dict(first.sizes), first.known
    return first.walked, trace(roles.inputs, first.walked)


def _behind_switches(roles: Roles) -> None:
    """Time and batch where scalar inputs choose between networks, and all of these agree."""
    found = []
    for values in switch_values(roles):
        mine = replace(roles, constants={**roles.constants, **values})
        mine.inputs = [port for port in roles.inputs if port.name not in values]
        mine.time, mine.batch, mine.candidates = {}, {}, []
        first = _first_walk(mine)
        if first is None:
            return
        find_time(mine, *first, None)
        find_batch(mine, *first)
        found.append((values, mine))
    if found and all(
        mine.time and (mine.time, mine.batch) == (found[0][1].time, found[0][1].batch) for _, mine in found
    ):
        chosen = found[0][1]
        roles.switches = [values for values, _ in found]
        roles.time, roles.batch = dict(chosen.time), dict(chosen.batch)
        roles.candidates, roles.sequences = list(chosen.candidates), chosen.sequences


def _free_sizes(roles: Roles) -> None:
    """Is the graph right at other sizes? Where not, the declared ones are the only ones."""
    found = _found_sizes(roles)
    if found.batch is not None and (more := _of_one_size(roles)):
        wider = replace(roles, batch={**roles.batch, **more})
        if (again := _found_sizes(wider)).batch is None:
            roles.batch, found = wider.batch, again
    if named := _of_one_name(roles):
        wider = replace(roles, batch={**roles.batch, **named})
        if (again := _found_sizes(wider)).batch == found.batch:
            roles.batch, found = wider.batch, again
    roles.time_size, roles.batch_size, roles.probes = found.time, found.batch, found.probes
    other, lengths = apart(roles.graph), [found.time] if found.time else list(found.probes)
    if other != roles.batch_probe and works(roles.walk, [(T, other) for T in lengths]):
        roles.batch_probe = other
    for place, (size, _) in roles.graph.fixed.items():  # a number that may be this size or the model's own
        roles.time_size = size if place in roles.time.items() else roles.time_size
        roles.batch_size = size if place in roles.batch.items() else roles.batch_size


def _found_sizes(roles: Roles) -> FreeSizes:
    return free_sizes(
        roles.walk,
        _declared(roles, roles.time, roles.open_sizes),
        _declared(roles, roles.batch, roles.open_sizes),
        timed=bool(roles.time),
        batched=bool(roles.batch),
        declared=any(
            isinstance((p.shape or ())[roles.time[p.name]], int) for p in roles.inputs if p.name in roles.time
        ),
        one_batch=any(
            isinstance((p.shape or ())[roles.batch[p.name]], int) for p in roles.inputs if p.name in roles.batch
        ),
        tried=roles.open_sizes.get(next(iter(roles.time.items()), ("", 0)), 1),
    )


def _of_one_size(roles: Roles) -> AxisOf:
    """Open axes of other inputs that were found to have the size of the batch, though the signals meet before they meet
    these: the batch cannot be followed to them."""
    sizes = {size for place in roles.batch.items() if (size := roles.open_sizes.get(place))}
    alike = [place for place, size in roles.open_sizes.items() if size in sizes and place not in roles.known_sizes]
    return {name: axis for name, axis in alike if name not in roles.batch and roles.time.get(name) != axis}


def _of_one_name(roles: Roles) -> AxisOf:
    """Open axes of other inputs that the file calls as it calls the batch, and of which nothing else says a size: those of
    a counter, or a delay, which meets no signal."""
    shapes = {port.name: port.shape or () for port in roles.inputs}
    names = {shapes[name][axis] for name, axis in roles.batch.items()}
    alike = [(n, a) for n, a in roles.stay_open() if (n, a) not in roles.known_sizes and shapes[n][a] in names]
    return {name: axis for name, axis in alike if name not in roles.batch and isinstance(shapes[name][axis], str)}


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
