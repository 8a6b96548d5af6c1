"""Random nodes of a model that streams: which of their axes are steps and signals, and the counts that they keep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..graph.ir import Node
from ..ops import registry
from ..program.draws import DRAWN, Axis, Draws, Factor, own_seed
from ..records import StateInfo
from ..walk.walk import Walk
from .ground import time_label
from .labels import Trace
from .spec import Carried, StreamSpec

__all__ = ["with_draws"]


def with_draws(spec: StreamSpec, walked: Walk, traced: Trace) -> StreamSpec:
    """The same, with what its random nodes keep."""
    nodes = [node for node in walked.nodes if registry.is_random(node)]
    draws = {node.name: _draws(node, spec, walked, traced) for node in nodes}
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


def _draws(node: Node, spec: StreamSpec, walked: Walk, traced: Trace) -> Draws:
    """By the labels of its axes; where what is drawn has none, as it is drawn for a shape, by how they follow the sizes."""
    value, roles = node.outputs[0], spec.roles
    shape = walked.facts[value].shape
    labels: dict[int, str] = {}
    if roles.batch and (name := next(iter(roles.batch))) in traced.axes:
        labels[traced.root(traced.axes[name][roles.batch[name]][0].label)] = "signal"
    if spec.mode == "time":
        labels[time_label(roles, traced)] = "step"
    found = Draws(tuple(() for _ in shape), own_seed(node), spec.mode != "time")
    if value in traced.axes:
        left = dict(labels)  # each stands in one place
        axes = [[_factor(f.label, f.extent, left, traced) for f in axis] for axis in traced.axes[value]]
        found = replace(found, axes=tuple(map(_joined, axes)))
    T, B = roles.analysis_sizes()
    if spec.mode == "time" and not found.has("step"):
        other = roles.probes[1] if roles.probes[1] != T else roles.probes[0]
        found = _following(found, node, "step", (T, other), lambda n: roles.walk(n, B))
    if roles.batch and roles.batch_size is None and not found.has("signal"):
        found = _following(found, node, "signal", (B, B + 1), lambda n: roles.walk(T, n))
    return found


def _factor(label: int, extent: int, labels: dict[int, str], traced: Trace) -> Factor:
    return labels.pop(traced.root(label), "") if label else "", extent


def _joined(factors: list[Factor]) -> Axis:
    """An axis that is neither steps nor signals is whatever it is at other sizes."""
    return tuple(factors) if any(kind for kind, _ in factors) else ()


def _following(found: Draws, node: Node, kind: str, sizes: tuple[int, int], walk: Callable[[int], Walk]) -> Draws:
    """An axis without a label that grows in proportion to a size is that size, with what is left inside it."""
    with suppress(LstmInferError):
        shapes = [walk(n).facts[node.outputs[0]].shape for n in sizes]
        for axis, (n, m) in enumerate(zip(*shapes, strict=False)):
            known, inside = found.axes[axis], n // sizes[0]
            if (
                n != m
                and (n, m) == (inside * sizes[0], inside * sizes[1])
                and known in ((), known[:1] + (("", sizes[0]),))
            ):
                rest: Axis = ((kind, sizes[0]),) if known else ((kind, sizes[0]), ("", inside))
                return replace(found, axes=(*found.axes[:axis], known[:1] + rest, *found.axes[axis + 1 :]))
    return found
