"""Slices that take all there is: `x[:, t]` of a scripted loop is Slice, all of axis 0, then Gather. They become names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph.ir import Array, Graph, Node

__all__ = ["name_whole_slices"]

_END = np.iinfo(np.int32).max
"""Exporters write this or more for "to the end"; no axis is as long."""


def name_whole_slices(graph: Graph, outer: Mapping[str, Array] | None = None) -> None:
    """Replace them by Identity, in place, subgraphs too."""
    scope = {**(outer or {}), **graph.consts}
    for i, node in enumerate(graph.nodes):
        for sub in node.subgraphs():
            name_whole_slices(sub, scope)
        if _takes_all(node, scope):
            graph.nodes[i] = replace(node, op="Identity", inputs=node.inputs[:1], attrs={})


def _takes_all(node: Node, scope: Mapping[str, Array]) -> bool:
    if node.op != "Slice" or node.domain or len(node.inputs) < 3:
        return False
    starts, ends = scope.get(node.inputs[1]), scope.get(node.inputs[2])
    steps = scope.get(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] else np.array(1)
    if starts is None or ends is None or steps is None:
        return False
    return bool(np.all(starts == 0) and np.all(ends >= _END) and np.all(steps == 1))
