"""Random nodes of a model that streams: which of their axes are steps and signals, and the counts that they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Node
from ..ops import carries, registry
from ..ops.control import Choice, Repeat
from ..program.draws import DRAWN, Axis, Draws, Factor, own_seed
from ..records import StateInfo
from ..walk.walk import Walk
from .ground import time_label
from .labels import Trace
from .spec import Carried, StreamSpec

__all__ = ["with_draws"]

Shape = tuple[int, ...]


def with_draws(spec: StreamSpec, walked: Walk, traced: Trace) -> StreamSpec:
    """The same, with what its random nodes keep. Those in bodies draw once an iteration: where there is time, bodies that
    are run step by step alone."""
    draws = {node.name: _draws(node, spec, walked, traced) for node in walked.nodes if registry.is_random(node)}
    for holder in walked.nodes:
        if isinstance(holder, (Repeat, Choice)) and (spec.mode != "time" or _over_time(holder, spec)):
            for node, shape in _inside(holder):
                draws[node.name] = _following_signals(Draws(((),) * len(shape), own_seed(node), True), node, spec)
    size = spec.roles.batch_size or 1
    return replace(
        spec,
        draws=draws,
        carried=(*spec.carried, *(Carried(name, DRAWN, "", f"{name}.{DRAWN}", None) for name in draws)),
        states=(*spec.states, *(_info(name, found, size) for name, found in draws.items())),
    )


def _info(name: str, draws: Draws, size: int) -> StateInfo:
    own = draws.has("signal")
    shape = (size if own else 1, 2)
    return StateInfo(f"{name}.{DRAWN}", None, shape, np.dtype(np.int64), 0 if own else None, "drawn")


def _over_time(node: Node, spec: StreamSpec) -> bool:
    places = carries.runs_over(node) if isinstance(node, Repeat) else []
    return any(spec.time_axes.get(node.inputs[i]) == axis for i, axis in places)


def _inside(holder: Repeat | Choice) -> Iterator[tuple[Node, Shape]]:
    """The random nodes in the bodies of a loop or a branch, and in those of others in it, and what they draw at once."""
    bodies = [holder.body] if isinstance(holder, Repeat) else [nodes or [] for nodes in holder.branches]
    for nodes in bodies:
        yield from _random(nodes, holder.facts)


def _random(nodes: Iterable[Node], facts: Mapping[str, Fact]) -> Iterator[tuple[Node, Shape]]:
    for node in nodes:
        if isinstance(node, (Repeat, Choice)):
            yield from _inside(node)
        elif registry.is_random(node):
            yield node, facts[node.outputs[0]].shape


def _draws(node: Node, spec: StreamSpec, walked: Walk, traced: Trace) -> Draws:
    """By the labels of its axes; where what is drawn has none, as it is drawn for a shape, by how they follow the sizes."""
    value, roles = node.outputs[0], spec.roles
    labels: dict[int, str] = {}
    if roles.batch and (name := next(iter(roles.batch))) in traced.axes:
        labels[traced.root(traced.axes[name][roles.batch[name]][0].label)] = "signal"
    if spec.mode == "time":
        labels[time_label(roles, traced)] = "step"
    found = Draws(((),) * len(walked.facts[value].shape), own_seed(node), spec.mode != "time")
    if value in traced.axes:  # each label is taken where it stands first
        axes = [[_factor(f.label, f.extent, labels, traced) for f in axis] for axis in traced.axes[value]]
        found = replace(found, axes=tuple(map(_joined, axes)))
    if spec.mode == "time" and not found.has("step"):
        T, B = roles.analysis_sizes()
        other = roles.probes[1] if roles.probes[1] != T else roles.probes[0]
        found = _following(found, node, "step", (T, other), lambda n: roles.walk(n, B))
    return _following_signals(found, node, spec)


def _factor(label: int, extent: int, labels: dict[int, str], traced: Trace) -> Factor:
    return labels.pop(traced.root(label), "") if label else "", extent


def _joined(factors: list[Factor]) -> Axis:
    """An axis that is neither steps nor signals is whatever it is at other sizes."""
    return tuple(factors) if any(kind for kind, _ in factors) else ()


def _following_signals(found: Draws, node: Node, spec: StreamSpec) -> Draws:
    roles = spec.roles
    if found.has("signal") or not roles.batch or roles.batch_size is not None:
        return found
    T, B = roles.analysis_sizes()
    return _following(found, node, "signal", (B, B + 1), lambda n: roles.walk(T, n))


def _following(found: Draws, node: Node, kind: str, sizes: tuple[int, int], walk: Callable[[int], Walk]) -> Draws:
    """An axis without a label that grows in proportion to a size is that size, with what is left inside it."""
    with suppress(LstmInferError):
        shapes = [_shape(walk(n), node) for n in sizes]
        for axis, (n, m) in enumerate(zip(*shapes, strict=False)):
            known, inside = found.axes[axis], n // sizes[0]
            follows = n != m and (n, m) == (inside * sizes[0], inside * sizes[1])
            if follows and known in ((), known[:1] + (("", sizes[0]),)):
                rest: Axis = ((kind, sizes[0]),) if known else ((kind, sizes[0]), ("", inside))
                return replace(found, axes=(*found.axes[:axis], known[:1] + rest, *found.axes[axis + 1 :]))
    return found


def _shape(walked: Walk, node: Node) -> Shape:
    """What a random node draws at once in a walk; nothing where it is not in it."""
    return next((shape for found, shape in _random(walked.nodes, walked.facts) if found.name == node.name), ())
