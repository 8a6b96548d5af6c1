"""Reshapes that take the axis of directions out of what a layer gives: [T, B, directions, H] to [T, B, directions * H].

Whoever writes one means the sizes of the layer, whatever numbers stand in it; every other Reshape may be the model's own.
"""

from __future__ import annotations

from ..ops import recurrent
from ..walk.walk import Walk

__all__ = ["unpacking"]


def unpacking(walked: Walk) -> set[str]:
    """Names of these nodes."""
    packed: dict[str, int] = {}
    """Values that are what a layer gives, its axes in any order, with the extent of all directions."""
    found: set[str] = set()
    for node in walked.nodes:
        if recurrent.is_recurrent(node) and node.outputs[0]:
            shape = walked.facts[node.outputs[0]].shape
            packed[node.outputs[0]] = shape[2 if recurrent.axes(node)[0] else 1] * shape[-1]
        elif node.op == "Transpose" and node.inputs[0] in packed:
            packed[node.outputs[0]] = packed[node.inputs[0]]
        elif node.op == "Reshape" and node.inputs[0] in packed:
            shape = walked.facts[node.outputs[0]].shape
            if len(shape) == 3 and shape[-1] == packed[node.inputs[0]]:
                found.add(node.name)
    return found
