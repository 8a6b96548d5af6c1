"""Which states are worth a trial of being updated where they lie (program/inplace.py says whether they may).

A trial that fails costs a second lowering, so that a state which is plainly read again is copied from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph.ir import Node
from ..ops import carries, registry
from ..ops.control import Choice

__all__ = ["read_again"]


def read_again(states: Iterable[str], nodes: Sequence[Node]) -> set[str]:
    """States that a node reads behind a recurrence which starts from them, or that a branch reads."""
    held = {state: {state} for state in states}
    """By value: the states that it shows, or a part of them."""
    started: set[str] = set()
    found: set[str] = set()
    for node in nodes:
        read = [(i, held[value]) for i, value in enumerate(node.inputs) if value in held]
        if not read:
            continue
        shown = set().union(*(states for _, states in read))
        seeds = {i for _, i, _ in carries.states(node)} if carries.carries(node) else set()
        if registry.moves(node) in ("axes", "order", "part"):
            held |= {value: shown for value in node.outputs if value}
        elif isinstance(node, Choice):
            found |= shown
        elif all(i in seeds for i, _ in read):
            started |= shown
        else:
            found |= shown & started
    return found
