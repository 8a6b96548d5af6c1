"""Nodes that run over an axis and carry states along it: LSTM, GRU, RNN, and Scan; and CumSum, which does not tell
where time is, but has a state where it runs over time.

What streaming needs to know of them, whichever they are: along which axis of which input they run, which states they
carry from step to step, and where those lie in the values that start them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Node
from ..program.views import View
from . import recurrent
from .control import Repeat, flow_repeat
from .reduce import sum_axis
from .registry import attr

__all__ = ["batch_axis", "carries", "first_state", "recurrences", "runs_over", "state_memory", "states", "sums"]


def carries(node: Node) -> bool:
    """Does the node carry states along an axis of its inputs."""
    return recurrent.is_recurrent(node) or (isinstance(node, Repeat) and bool(node.scanned) and bool(states(node)))


def recurrences(nodes: Iterable[Node]) -> list[Node]:
    """Those among the nodes that carry a state."""
    return [node for node in nodes if carries(node)]


def sums(node: Node) -> bool:
    """Does the node add up what came before, from the first position on."""
    return node.op == "CumSum" and not node.domain and not attr(node, "reverse", 0)


def runs_over(node: Node) -> list[tuple[int, int]]:
    """(input, axis) along which the node steps."""
    if isinstance(node, Repeat):
        return [(s.input, s.axis) for s in node.scanned]
    return [(0, recurrent.axes(node)[0])]


def states(node: Node) -> list[tuple[str, int, int]]:
    """(what, input that seeds it, output that holds its last value)."""
    if isinstance(node, Repeat):
        live = [c for c in node.carried if node.facts[c.inside].const is None]
        return [(f"s{c.output}", c.input, c.output) for c in live]
    return recurrent.states(node)


def batch_axis(node: Node) -> tuple[int, int] | None:
    """(input, axis) of the batch: an axis that passes through to every state, element by element; None: none."""
    if not isinstance(node, Repeat):
        return 0, recurrent.axes(node)[1]
    links = [link for link in flow_repeat(node, [], node.outs) if link.kind == "same"]
    held = {c.output for c in node.carried if node.facts[c.inside].const is None and node.facts[c.inside].shape}
    held = held or {t.output for t in node.stacked}
    for s in node.scanned:
        for axis in range(len(node.facts[s.inside].shape) + 1):
            reached = {link.output for link in links if (link.input, link.axis) == (s.input, axis)}
            if axis != s.axis and held <= reached:
                return s.input, axis
    return None


def state_memory(node: Node, facts: Mapping[str, Fact], what: str) -> tuple[tuple[int, ...], np.dtype[Any], int | None]:
    """Shape and dtype of a state in memory, and which of its axes is the batch."""
    if isinstance(node, Repeat):
        carried = next(c for c in node.carried if f"s{c.output}" == what)
        fact = node.facts[carried.inside]
        place = batch_axis(node)
        links = [k for k in flow_repeat(node, [], node.outs) if k.kind == "same" and k.output == carried.output]
        batch = next((k.out_axis for k in links if (k.input, k.axis) == place), None)
        return fact.shape, fact.dtype, batch
    x = facts[node.inputs[0]]
    if sums(node):
        axis = sum_axis(node, x, facts[node.inputs[1]])
        return (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype, None
    return (x.shape[recurrent.axes(node)[1]], recurrent.hidden(node, facts[node.inputs[2]].shape)), x.dtype, 0


def first_state(node: Node, init: View) -> View:
    """The part of the value that seeds a state which is its memory (one direction)."""
    if isinstance(node, Repeat):
        return init
    axis = recurrent.direction_axis(node)
    return init.part(axis, 0, 1).drop(axis)
