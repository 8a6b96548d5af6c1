"""The batch axis of the inputs: where signals lie side by side and never meet."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import carries
from ..walk.walk import Walk
from .labels import Trace
from .roles import AxisOf, Roles

__all__ = ["find_batch"]


def find_batch(roles: Roles, walked: Walk, traced: Trace) -> None:
    """The axes along which signals do not meet: no recurrence runs over them."""
    nodes = carries.recurrences(walked.nodes)
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
