"""Windows over time: what they need of the steps before is a state, joined in front of the new ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...graph.fact import Fact
from ...graph.ir import Node
from ...streams.reference import unpadded, without_pads
from .dialect import say
from .draft import held

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["masked", "put_delay", "put_pad", "put_window"]


def masked(em: Scene, x: str, axis: int, mask: str, other: float) -> str:
    """A value with one number at all positions of an axis where the mask is false."""
    d = em.d
    fact = d.facts[x]
    row = d.reshaped(mask, [fact.shape[axis] if a == axis else 1 for a in range(len(fact.shape))])
    return d.same("Where", [row, x, d.const(other, fact.dtype)])


def put_delay(em: Scene, value: str, axis: int, behind: int) -> str:
    """A value so many positions late."""
    x = em.value(value)
    joined = _joined(em, x, axis, behind, f"{value}.queue", "queue", 0.0)
    return em.d.part(joined, axis, 0, em.d.facts[x].shape[axis])


def _joined(em: Scene, x: str, axis: int, n: int, label: str, kind: str, first: float) -> str:
    """The last n positions before this step, and those of this step; the last n of them are kept."""
    if n == 0:
        return x
    d = em.d
    fact = d.facts[x]
    shape = tuple(n if a == axis else size for a, size in enumerate(fact.shape))
    known = label
    while known in em.states.found:
        known += "+"
    carry = em.states.hidden(known, kind, shape, fact.dtype, np.array(first, fact.dtype))
    joined = d.joined([em.carry_in(carry), x], axis)
    total = d.facts[joined].shape[axis]
    carry.value = d.part(joined, axis, total - n, n)
    return joined


def put_window(em: Scene, node: Node) -> None:
    """A node that slides over time, or takes steps off the ends of it."""
    d, placed, name = em.d, em.step.placed[node.name], node.inputs[0]
    axis, window = placed.axis, placed.window
    x = em.value(name)
    pace = em.step.pace(name)
    if (pace.lag > 0 and window.pad_begin > 0) or window.pad_end > 0:
        x = masked(em, x, axis, em.clock.span(pace, d.facts[x].shape[axis]).mask, window.pad_value)
    joined = _joined(em, x, axis, placed.held, f"{node.name}.history", "window", window.pad_value)
    if node.name in em.spec.cropped:
        start = placed.skip + em.spec.cropped[node.name]
        em.bind(node.outputs[0], d.part(joined, axis, start, placed.out, window.stride))
        return
    reach = (window.kernel - 1) * window.dilation + 1
    seen = d.part(joined, axis, placed.skip, (placed.out - 1) * window.stride + reach)
    plain = without_pads(node, axis, len(d.facts[x].shape), window)
    inputs = [seen, *(em.value(v) for v in node.inputs[1:])]
    facts = [em.fact(v) if v else Fact((), np.dtype(np.float32)) for v in node.outputs]
    say(d, replace(plain, inputs=inputs, outputs=[em.new(v) for v in node.outputs]), facts)


def put_pad(em: Scene, node: Node) -> None:
    """A Pad over time: done by the windows behind it, but for the other axes."""
    axis = em.spec.windows[node.name][0]
    facts = [held(em.facts[v]) if v else None for v in node.inputs]
    new = unpadded(node, axis, facts)[1]
    assert new is not None and new.const is not None
    if not new.const.any():
        em.bind(node.outputs[0], em.value(node.inputs[0]))
        return
    pads = em.d.const(new.const, np.int64, "pads")
    inputs = [em.value(node.inputs[0]), pads, *(em.value(v) for v in node.inputs[2:])]
    say(em.d, replace(node, inputs=inputs, outputs=[em.new(node.outputs[0])]), [em.fact(node.outputs[0])])
