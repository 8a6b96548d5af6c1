"""What an input beside the signal is: a scalar that the graph compares with numbers, or lengths of the signals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..graph.ir import Array, Graph
from ..walk.decided import compared_with
from .roles import Roles

__all__ = ["counts_with", "switch_values"]


SWITCHES = 16
"""Most settings of the scalar inputs that are tried."""


def switch_values(roles: Roles) -> list[dict[str, Array]]:
    """For each scalar input that is compared with constants: those, and one that is none of them."""
    scalars = {p.name: p.dtype for p in roles.inputs if p.shape == () and p.dtype.kind in "iub"}
    found: list[dict[str, Array]] = []
    for name, dtype in scalars.items():
        values = (
            {0, 1} if dtype.kind == "b" else {n + more for n in compared_with(roles.graph, name) for more in (0, 1)}
        )
        made = [{name: np.asarray(value).astype(dtype)} for value in sorted(values)]
        found = [{**a, **b} for a in found for b in made] if found and made else found or made
    return found if len(found) <= SWITCHES else []


def counts_with(graph: Graph, lens: Mapping[str, str], name: str) -> str | None:
    """The node whose sequence_lens (`lens`, by node) are computed from an input."""
    made = {value: node for node in graph.walk() for value in node.outputs if value}
    for node, value in lens.items():
        todo, seen = [value], set[str]()
        while todo:
            value = todo.pop()
            if value == name:
                return node
            if value in made and value not in seen:
                todo += made[value].inputs
            seen.add(value)
    return None
