"""CumSum over time: the sum so far is a state, added in front of the new terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...analysis.spec import Carried
from ...graph.ir import Node
from ...ops.reduce import sum_axis
from ...ops.registry import attr
from .windows import masked

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["put_sum"]


def put_sum(em: Scene, node: Node, carried: Carried) -> None:
    """One CumSum."""
    d, x = em.d, em.value(node.inputs[0])
    axis = sum_axis(node, em.facts[node.inputs[0]], em.facts[node.inputs[1]])
    fact = d.facts[x]
    n, pace = fact.shape[axis], em.step.pace(node.inputs[0])
    if em.clock.gates(pace):
        x = masked(em, x, axis, em.clock.span(pace, n).mask, 0.0)
    shape = (*fact.shape[:axis], *fact.shape[axis + 1 :])
    carry = em.states.hidden(carried.label, "state", shape, fact.dtype, np.zeros((), fact.dtype))
    row = (*fact.shape[:axis], 1, *fact.shape[axis + 1 :])
    so_far = d.reshaped(em.carry_in(carry), row)
    joined = d.joined([so_far, x], axis)
    sums = d.op("CumSum", [joined, d.const(axis, np.int64)], d.facts[joined].shape, fact.dtype)
    carry.value = d.reshaped(d.part(sums, axis, n, 1), shape)
    em.bind(node.outputs[0], d.part(sums, axis, 0 if attr(node, "exclusive", 0) else 1, n))
