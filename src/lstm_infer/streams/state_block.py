"""Where the states of a stream lie, and what computes them before the first step.

A slot of the state block has a key that says what it holds: `NodeState` a recurrence's state, the others are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Union

import numpy as np

from ..analysis.pairing.scene import NextState
from ..analysis.spec import StreamSpec
from ..errors import FeedError, NotStreamableError
from ..frozen import frozen
from ..graph.ir import Node
from ..lower import builder
from ..ops import carries, registry
from ..program.assemble import assemble
from ..program.builder import Builder
from ..program.draws import DRAWN, Seeded
from ..program.memory import NodeState, StateLayout
from ..program.program import Program
from ..program.store import ConstStore
from ..program.views import View
from ..records import StateInfo, shown_shape
from ..walk.walk import Walk
from .fed import Fed, resized

__all__ = [
    "Fills",
    "History",
    "InputState",
    "Kept",
    "Queue",
    "Remaining",
    "Static",
    "first_program",
    "next_value",
    "place_states",
    "public_states",
    "seeded",
    "static_values",
]


@dataclass(frozen=True, order=True)
class History:
    """The steps that a window over time has seen and needs again."""

    node: str


@dataclass(frozen=True, order=True)
class Queue:
    """Steps that wait at one input of a node for those of another input."""

    node: str
    input: int


@frozen
class InputState:
    """The state that goes in as a graph input."""

    name: str


@frozen
class Remaining:
    """How many steps are left of the sequence_lens of a recurrence."""

    node: str


@frozen
class Static:
    """A value computed from bound side inputs, once."""

    value: str


Kept = Union[History, Queue]  # noqa: UP007  (an alias that 3.10 evaluates)
Fills = dict[Kept, int]
"""How many steps each history and queue holds."""


def static_values(fed: Fed, one: Walk) -> set[str]:
    """Values computed from bound side inputs alone."""
    static = set(fed.bound)
    carried = {c.node for c in fed.spec.carried}
    for node in one.nodes:
        if node.name in carried or registry.find(node).random:
            continue
        if all(v in static or one.facts[v].const is not None for v in node.inputs if v):
            static |= {v for v in node.outputs if v}
    return static


def place_states(fed: Fed, one: Walk, static: set[str], capacity: Mapping[Kept, int]) -> StateLayout:
    """Memory for all that a stream keeps. `capacity`: the most steps of histories and queues whose fill changes."""
    spec = fed.spec
    layout = StateLayout()
    for name in spec.pairs:
        layout.slot(InputState(name), one.facts[name].shape, one.facts[name].dtype)
    nodes = {node.name: node for node in one.nodes}
    for name in (*(carried.node for carried in spec.carried if carried.what != DRAWN), *spec.windows):
        if name not in nodes and name not in spec.pad_nodes:
            raise _other_network(fed, name)
    for carried in spec.carried:
        if carried.what == DRAWN:
            rows = fed.batch if spec.draws[carried.node].has("signal") else 1
            layout.slot(NodeState(carried.node, f"{DRAWN}0"), (rows, 2), np.int64)
            continue
        shape, dtype, _ = carries.state_memory(nodes[carried.node], one.facts, carried.what)
        layout.slot(NodeState(carried.node, f"{carried.what}0"), shape, dtype)
    _place_steps(layout, spec, nodes, one, capacity)
    for name, value in spec.lens.items():
        layout.slot(Remaining(name), one.facts[value].shape, one.facts[value].dtype)
    read = [o.name for o in spec.outputs] + list(spec.pairs.values())
    for node in one.nodes:
        if not all(v in static for v in node.outputs if v):
            read += node.inputs
    for value in read:
        if value in static and one.facts[value].const is None:
            layout.slot(Static(value), one.facts[value].shape, one.facts[value].dtype)
    layout.closed = True
    return layout


def _other_network(fed: Fed, node: str) -> NotStreamableError:
    """Bound inputs choose a network that the analysis did not read."""
    chosen = {name: fact.const.item() for name, fact in fed.known.items() if fact.const is not None}
    why = f"it carries a state, and does not run with the inputs {chosen}"
    return NotStreamableError(
        f"node {node!r}: {why}; choose the network with load(..., constants={chosen})", node=node, reason=why
    )


def _place_steps(
    layout: StateLayout, spec: StreamSpec, nodes: Mapping[str, Node], one: Walk, capacity: Mapping[Kept, int]
) -> None:
    """Histories of windows, and queues."""
    for name, (axis, window) in spec.windows.items():
        if name not in spec.pad_nodes:
            fact = one.facts[nodes[name].inputs[0]]
            steps = capacity.get(History(name), (window.kernel - 1) * window.dilation)
            layout.slot(History(name), resized(fact, axis, steps).shape, fact.dtype)
    for key, steps in capacity.items():
        if isinstance(key, Queue):
            value = nodes[key.node].inputs[key.input]
            fact = resized(one.facts[value], spec.time_axes[value], steps)
            layout.slot(key, fact.shape, fact.dtype)


def next_value(b: Builder, found: NextState, slot: View) -> View:
    """The next value of a state as its memory has it: a part of an output, and without axes of 1 or with others."""
    place = found.place
    view = b.view(place.output)
    if place.part is not None:
        view = view.part(place.part.axis, *place.part.among(view.shape[place.part.axis]))
    shown = view.reshape(slot.shape)
    assert shown is not None, "axes of 1 alone"
    return shown


def public_states(spec: StreamSpec, layout: StateLayout, batch: int) -> dict[str, tuple[View, StateInfo]]:
    """Every public state and where it lies."""
    found: dict[str, tuple[View, StateInfo]] = {}
    hidden = {c.label: c for c in spec.carried}
    for info in spec.states:
        carried = hidden.get(info.name)
        view = layout.slots[InputState(info.name) if carried is None else NodeState(carried.node, f"{carried.what}0")]
        if len(info.shape) != len(view.shape):  # its batch is a product, shown by its axes
            shown = view.reshape(shown_shape(info, batch, prod(view.shape)))
            assert shown is not None
            view = shown
        found[info.name] = view, info
    return found


def _begins(spec: StreamSpec, one: Walk, static: set[str]) -> set[str]:
    """What first states are computed from besides static values: numbers that are drawn once for a whole signal."""
    makers = {v: node for node in one.nodes for v in node.outputs if v}
    stepped = {name for name, draws in spec.draws.items() if draws.has("step")}
    stepped |= {c.node for c in spec.carried if c.what != DRAWN}
    found: set[str] = set()
    todo = [c.init for c in spec.carried if c.init]
    while todo:
        value = todo.pop()
        if value in static or value in found or one.facts[value].const is not None:
            continue
        node = makers.get(value)
        if node is None or node.name in stepped or value in spec.time_axes:
            return set()
        found |= {v for v in node.outputs if v}
        todo += [v for v in node.inputs if v]
    return found


def seeded(spec: StreamSpec, layout: StateLayout) -> list[Seeded]:
    """The states of random nodes."""
    return [Seeded(layout.slots[NodeState(name, f"{DRAWN}0")], draws.own) for name, draws in spec.draws.items()]


def first_program(fed: Fed, one: Walk, static: set[str], layout: StateLayout, store: ConstStore, isa: str) -> Program:
    """Fills states that start from an expression, window histories, and all that depends on side inputs alone."""
    spec = fed.spec
    b = builder(dict(one.facts), store, isa, layout=layout, draws=spec.draws, signals=fed.batch)
    names = list(fed.bound)
    for index, name in enumerate(names):
        b.input(name, index)
    begins = _begins(spec, one, static)
    for node in one.nodes:
        if all(v in static or v in begins for v in node.outputs if v):
            b.node(node)
    nodes = {node.name: node for node in one.nodes}
    for carried in spec.carried:
        if not carried.init:
            continue
        if one.facts[carried.init].const is None and carried.init not in static and carried.init not in begins:
            unbound = ", ".join(repr(n) for n in fed.per_step) or "an input"
            raise FeedError(
                f"the first state of node {carried.node!r} is computed from {unbound}; bind it with stream(inputs={{...}})"
            )
        slot = layout.slots[NodeState(carried.node, f"{carried.what}0")]
        init = b.view(carried.init)
        b.copy(slot, carries.first_state(nodes[carried.node], b.f32(init) if slot.dtype == np.float32 else init))
    for name, (_, window) in spec.windows.items():
        history = layout.slots.get(History(name))
        if history is not None and window.pad_value:
            b.copy(history, b.scalar(window.pad_value, history.dtype))
    for name, value in spec.lens.items():
        b.copy(layout.slots[Remaining(name)], b.view(value))
    for key, slot in layout.slots.items():
        if isinstance(key, Static):
            b.copy(slot, b.view(key.value))
    return assemble(b, len(names), [])
