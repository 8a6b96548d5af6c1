"""The time axis of the inputs: each recurrence's sequence axis, traced back to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Node
from ..ops import carries, recurrent
from ..walk.walk import Walk, walk
from .axes import trace
from .free import LONG_PROBES, PROBES
from .labels import Trace
from .roles import AxisOf, Roles

__all__ = ["find_time", "under_long_windows"]


def find_time(roles: Roles, walked: Walk, traced: Trace, given: Mapping[str, int] | None) -> None:
    found: list[AxisOf] = []
    closed: list[AxisOf] = []
    """Axes over which something runs backwards too: inside a frame, where another axis is left for time."""
    for node, source, axis in (
        (n, n.inputs[i], a) for n in carries.recurrences(walked.nodes) for i, a in carries.runs_over(n)
    ):
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
        roles.chosen, roles.candidates, roles.time = True, [dict(given)], dict(given)
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


def under_long_windows(roles: Roles, walked: Walk, traced: Trace) -> tuple[Walk, Trace]:
    """Where every recurrence runs over one step and starts from a state of its own: that of an open axis which was too
    short for the windows over it. A state that is fed belongs to a frame, whose samples are not time."""
    nodes = carries.recurrences(walked.nodes)
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
        find_time(longer, again, trace(roles.inputs, again), None)
        if longer.time and set(longer.time.items()) <= places:
            roles.open_sizes = longer.open_sizes
            roles.time, roles.candidates = longer.time, longer.candidates
            roles.runs_over, roles.sequences = longer.runs_over, longer.sequences
            return again, trace(roles.inputs, again)
    return walked, traced
