"""States that recurrences over time keep to themselves: which there are, and what starts each."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..ops import carries, recurrent, registry
from ..records import StateInfo
from . import lengths
from .ground import Ground
from .labels import Factor
from .refusal import EachCallError, mixed, refusal
from .spec import Carried

__all__ = ["CarriedStates"]

Shown = tuple[int | None, ...]
"""The shape in which a state is shown; None where an axis is open."""


class CarriedStates:
    """The hidden states of one analysis: node by node, from the input on."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.carried: list[Carried] = []
        self.lens: dict[str, str] = {}
        self.infos: list[StateInfo] = []
        traced = ground.traced
        self._state_labels = {
            f.label for name in ground.pairs for axis in traced.axes.get(name, ()) for f in axis if f.label
        }

    def recurrence(self, node: Node) -> None:
        """A node that carries states along an input that has time: over time, or is time its batch."""
        ground = self._ground
        over = [(node.inputs[i], axis) for i, axis in carries.runs_over(node)]
        places = [p for value, axis in over if (p := ground.place(value)) is not None and p.axis == axis]
        if not places and not self._of_one_step(node):
            return  # time is its batch, or part of it: nothing is carried
        lens = node.inputs[4] if recurrent.is_recurrent(node) and len(node.inputs) > 4 else ""
        lens = "" if lens and lengths.takes_all(ground, node) else lens
        if any(p.outer != 1 or (lens and not p.alone) for p in places):
            raise mixed(node, "runs over")
        if lens:
            self.lens[node.name] = lens
        for what, index, output in carries.states(node):
            init = node.inputs[index] if index < len(node.inputs) else ""
            out = node.outputs[output] if output < len(node.outputs) else ""
            if not self._passed_in(node, init):
                self._carry(node, what, init, out if out in ground.given_out else None)

    def summed(self, node: Node, index: int, axis: int) -> None:
        """The sum over all steps so far is a state."""
        source = node.inputs[index]
        if not self._ground.leads(source):
            raise mixed(node, "sums over")
        label = f"{node.name}.sum"
        self.carried.append(Carried(node.name, "sum", "", label, None))
        memory, dtype, _ = carries.state_memory(node, self._ground.walked.facts, "sum")
        shape: Shown = memory
        place = self._batch_place(source)
        batch = None
        if place is not None and place != axis:
            shape, batch = self._signals(memory, place - (place > axis), source, place)
        self._info(label, None, shape, dtype, batch, "zero")

    def check_handed_back(self, value: str, has_time: Callable[[str], bool]) -> None:
        """What is left of a state that the graph passes through has to be handed out as it is."""
        todo, seen = [value], set[str]()
        while todo:
            value = todo.pop()
            maker = self._ground.makers.get(value)
            if maker is None or maker.name in seen or has_time(value):
                continue
            if carries.carries(maker):
                if not self._follows(maker, has_time):
                    raise refusal(maker, "moves a state on once a call, along what does not follow time", EachCallError)
                continue
            if not registry.moves(maker):
                raise refusal(maker, "changes a state once a call, behind the sequence", EachCallError)
            seen.add(maker.name)
            todo += [name for name in maker.inputs if name in self._ground.makers]

    def _follows(self, node: Node, has_time: Callable[[str], bool]) -> bool:
        """Does a recurrence run over the time of the stream: not over a sequence that is bound beside it."""
        return self._of_one_step(node) or any(has_time(node.inputs[i]) for i, _ in carries.runs_over(node))

    def _passed_in(self, node: Node, init: str) -> bool:
        """Does the graph itself pass the state in; refused where the sequence decides about it."""
        ground = self._ground
        deps = ground.traced.deps.get(init, frozenset()) if init else frozenset()
        if any(label in self._state_labels for label in deps):
            self._check_passed_on(node, init)
            return True
        if init and ground.traced.depends(init, ground.label):
            raise refusal(node, f"starts from a state computed from the sequence itself ({init!r})")
        return False

    def _check_passed_on(self, node: Node, value: str) -> None:
        """A state has to reach its recurrence as it came: what a mask does to it is done once a call."""
        todo, seen = [value], set[str]()
        while todo:
            maker = self._ground.makers.get(todo.pop())
            if maker is None or maker.name in seen or carries.carries(maker):
                continue
            if not registry.moves(maker):
                raise refusal(maker, f"changes a state once a call, before {node} starts from it", EachCallError)
            seen.add(maker.name)
            todo += [name for name in maker.inputs if name in self._ground.makers]

    def _carry(self, node: Node, what: str, init: str, public: str | None) -> None:
        facts = self._ground.walked.facts
        label = f"{node.name}.{what}"
        self.carried.append(Carried(node.name, what, init, label, public))
        const = facts[init].const if init else None
        zero = not init or (const is not None and not const.any())
        kind = "zero" if zero else "computed" if const is None else "constant"
        memory, dtype, axis = carries.state_memory(node, facts, what)
        shape: Shown = memory
        place = carries.batch_axis(node)
        if axis is not None and place is not None:
            shape, axis = self._signals(memory, axis, node.inputs[place[0]], place[1])
        self._info(label, public, shape, dtype, axis, kind)

    def _info(
        self, label: str, public: str | None, shape: Shown, dtype: np.dtype[Any], batch: int | None, kind: str
    ) -> None:
        if batch is not None:
            shape = (*shape[:batch], self._ground.roles.batch_size or 1, *shape[batch + 1 :])
        self.infos.append(StateInfo(label, public, shape, dtype, batch, kind))

    def _of_one_step(self, node: Node) -> bool:
        """In a file of one step and one signal their axes cannot be told apart: does the node run over one of them."""
        ground = self._ground
        labels = [ground.traced.alone(node.inputs[i], axis) for i, axis in carries.runs_over(node)]
        places = [place for label in labels if label for place in ground.traced.inputs_of(label)]
        return ground.roles.time_size == 1 and any(
            name in ground.roles.time and ground.walked.facts[name].shape[axis] == 1 for name, axis in places
        )

    def _batch_label(self) -> int:
        """The label of the batch; 0: there is none."""
        traced = self._ground.traced
        name, at = next(iter(self._ground.roles.batch.items()), ("", 0))
        return traced.root(traced.axes[name][at][0].label) if name else 0

    def _batch_place(self, value: str) -> int | None:
        """The axis of a value in which the signals of a batch lie."""
        batch = self._batch_label()
        return self._ground.traced.find(value, batch) if batch else None

    def _signals(self, shape: tuple[int, ...], axis: int, source: str, place: int) -> tuple[Shown, int | None]:
        """A state's shape and batch axis where the batch of its recurrence is that of the stream, or a product with it
        (the bands of a signal): such a product is shown as the axes it consists of."""
        batch, traced = self._batch_label(), self._ground.traced
        factors = [f for f in traced.axes[source][place] if f.label or f.extent != 1]
        extents = [self._shown(f) for f in factors]
        alone: Shown = (*shape[:axis], None if None in extents else shape[axis], *shape[axis + 1 :])
        if not batch or traced.find(source, batch) != place or prod(f.extent for f in factors) != shape[axis]:
            return alone, None
        inside = next(i for i, f in enumerate(factors) if f.label and traced.root(f.label) == batch)
        if factors[inside].extent != self._ground.roles.analysis_sizes()[1] or extents.count(None) > 1:
            return alone, None
        return (*shape[:axis], *extents, *shape[axis + 1 :]), axis + inside

    def _shown(self, factor: Factor) -> int | None:
        """The extent of a part of an axis; None where the file leaves it open, and nothing else says it."""
        places = self._ground.traced.inputs_of(factor.label) if factor.label else []
        return None if self._ground.roles.unknown().intersection(places) else factor.extent
