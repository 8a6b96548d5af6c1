"""LSTM, GRU and RNN of one step: their states go in and come out, and stand still outside of the signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.spec import Carried
from ...graph.fact import Fact
from ...graph.ir import AttrValue, Node
from ...ops import recurrent
from ...ops.registry import attr
from .clock import Span
from .quantised_lstm import put_quantised

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["first_or_kept", "put_recurrent"]

_KEPT = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "input_forget",
    "linear_before_reset",
)


def put_recurrent(em: Scene, node: Node, carried: Mapping[str, Carried]) -> None:
    """One recurrent node, time in front."""
    d, leads = em.d, bool(attr(node, "layout", 0))
    x = em.value(node.inputs[0])
    x = d.transposed(x, [1, 0, 2]) if leads else x
    T, B, _ = d.facts[x].shape
    H = recurrent.hidden(node, em.facts[node.inputs[2]].shape)
    D = len(recurrent.directions(node))
    given = {i: v for i, v in enumerate(node.inputs) if v}
    before = {}
    for what, index, _ in recurrent.states(node):
        init = _turned(em, em.value(given[index]), leads) if index in given else ""
        if what in carried:
            before[what] = _carried(em, carried[what], init, (D, B, H))
        else:
            before[what] = init
    pace = em.step.pace_of(node)
    over = em.spec.time_axes.get(node.inputs[0]) == recurrent.axes(node)[0]
    span = em.clock.span(pace, T) if over and em.clock.gates(pace) else None
    lens = em.value(given[4]) if 4 in given else ""
    if node.name in em.spec.lens:
        lens = _what_is_left(em, lens, T)
    made = _Layer(em, node, T, B, H, D, span).put(x, lens, before)
    for last, (what, _, output) in zip(made[1:], recurrent.states(node), strict=True):
        if output < len(node.outputs):
            em.bind(node.outputs[output], _turned(em, last, leads))
        if what in carried:
            carry = em.states.found[carried[what].label]
            carry.value = d.reshaped(last, carry.shape)
    if node.outputs[0]:
        em.bind(node.outputs[0], d.transposed(made[0], [2, 0, 1, 3]) if leads else made[0])


def _turned(em: Scene, name: str, leads: bool) -> str:
    return em.d.transposed(name, [1, 0, 2]) if leads else name


def _carried(em: Scene, carried: Carried, init: str, shape: tuple[int, ...]) -> str:
    """A state of the stream as the operator takes it."""
    d = em.d
    public = em.public(carried.label, shape[1:])
    const = d.facts[init].const if init else np.zeros((), np.float32)
    first = np.zeros((), np.float32) if const is None else const.reshape(public) if const.ndim else const
    carry = em.states.hidden(carried.label, "state", public, np.float32, first)
    state = d.reshaped(em.carry_in(carry), shape)
    return state if const is not None else first_or_kept(em, init, state)


def first_or_kept(em: Scene, init: str, state: str) -> str:
    """A state whose first value is computed from what is fed with the first step."""
    return em.d.same("Where", [em.clock.first(), init, state])


def _what_is_left(em: Scene, lens: str, T: int) -> str:
    """Of lengths that count from the beginning of the stream, what falls into this step."""
    d = em.d
    left = d.same("Sub", [d.cast(lens, np.int64), em.clock.frames()])
    limited = d.same("Min", [d.same("Max", [left, d.const(0, np.int64)]), d.const(T, np.int64)])
    return d.cast(limited, np.int32)


class _Layer:
    """One recurrent operator with time in front."""

    def __init__(self, em: Scene, node: Node, T: int, B: int, H: int, D: int, span: Span | None) -> None:
        self.em, self.node, self.T, self.B, self.H, self.D, self.span = em, node, T, B, H, D, span

    def put(self, x: str, lens: str, before: Mapping[str, str]) -> list[str]:
        """Y, and the last states."""
        d = self.em.d
        if self.span is not None or lens:
            before = {what: name or self._zeros() for what, name in before.items()}
        moves = self.span is not None and self.T > 1
        if self.span is not None and moves:
            x = self._rolled(x, self.span.low, 1)
        if self.span is not None and (moves or lens):
            here = d.cast(d.same("Sub", [self.span.high, self.span.low]), np.int32)
            here = d.op("Expand", [here, d.const([self.B], np.int64, "shape")], (self.B,), np.int32)
            lens = here if not lens else d.same("Min", [lens, here])
        made = self._node(x, lens, before)
        live = ""
        if self.span is not None:
            made[0] = self._rolled(made[0], self.span.low, -1) if moves else made[0]
            live = self.span.mask
        if lens:
            some = d.same("Less", [d.const(0, np.int32), lens], dtype=np.bool_)
            live = d.reshaped(some, (1, self.B, 1))
        if live:
            kinds = [what for what, _, _ in recurrent.states(self.node)]
            made[1:] = [d.same("Where", [live, new, before[k]]) for k, new in zip(kinds, made[1:], strict=True)]
        return made

    def _zeros(self) -> str:
        d, shape = self.em.d, (self.D, self.B, self.H)
        return d.op("Expand", [d.const(0.0, np.float32), d.const(shape, np.int64, "shape")], shape)

    def _rolled(self, x: str, by: str, sign: int) -> str:
        """Positions moved to the front by so many, or back."""
        d = self.em.d
        moved = d.same("Add" if sign > 0 else "Sub", [d.const(np.arange(self.T), np.int64, "places"), by])
        places = d.same("Mod", [moved, d.const(self.T, np.int64)])
        return d.op("Gather", [x, places], d.facts[x].shape, d.facts[x].dtype, {"axis": 0})

    def _node(self, x: str, lens: str, before: Mapping[str, str]) -> list[str]:
        em, d, node = self.em, self.em.d, self.node
        if node.domain:
            return put_quantised(em, node, x, before, (self.T, self.B, self.H))
        given = [em.value(v) for v in node.inputs] + [""] * 8
        inputs = [x, *given[1:4], lens, *before.values(), *(given[7:8] if node.op == "LSTM" else [])]
        while not inputs[-1]:
            inputs.pop()
        attrs: dict[str, AttrValue] = {key: value for key, value in node.attrs.items() if key in _KEPT and value != []}
        attrs["hidden_size"] = self.H
        last = (self.D, self.B, self.H)
        names = [d.names.fresh(f"{node.name}/{out}") for out in ("Y", "Y_h", "Y_c")[: 1 + len(before)]]
        facts = [Fact((self.T, self.D, self.B, self.H), np.dtype(np.float32))]
        facts += [Fact(last, np.dtype(np.float32)) for _ in before]
        d.put(Node(node.op, d.names.fresh(node.name or node.op), inputs, names, attrs, "", d.opset), facts)
        return list(names)
