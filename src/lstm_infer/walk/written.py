"""A Loop or a Scan as written: which value is carried, scanned, stacked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.ir import Graph, Node
from ..ops import registry
from ..ops.control import Carried, Scanned, Stacked
from ..ops.registry import attr
from .scope import Scope

__all__ = ["Spec", "has_output", "of_loop", "of_scan", "one_value"]


@dataclass
class Spec:
    """A Loop or Scan as written: which value is what."""

    node: Node
    body: Graph
    iter: str
    cond: str
    again: str
    carried: list[Carried]
    scanned: list[Scanned]
    stacked: list[Stacked]
    most: int | None
    """Iterations, if nothing stops earlier; None: not known, or no limit."""
    start: bool | None
    """Is the first condition true; None: not known."""


def of_loop(node: Node, scope: Scope) -> Spec:
    body = registry.subgraph(node, "body")
    n = len(node.inputs) - 2
    if len(node.inputs) < 2:
        node = replace(node, inputs=[*node.inputs, "", ""][:2])
        n = 0
    if len(body.inputs) != n + 2 or len(body.outputs) < n + 1 or len(node.outputs) > len(body.outputs) - 1:
        raise OnnxImportError(
            f"{node}: {n} carried values and {len(node.outputs)} outputs do not fit a body with {len(body.inputs)} inputs "
            f"and {len(body.outputs)} outputs; the file is broken"
        )
    carried = [Carried(2 + k, body.inputs[2 + k].name, body.outputs[1 + k].name, k) for k in range(n)]
    stacked = [
        Stacked(port.name, 0, False, n + k) for k, port in enumerate(body.outputs[1 + n :])
        if n + k < len(node.outputs) and node.outputs[n + k]
    ]  # fmt: skip
    most = one_value(node, scope, 0)
    start = one_value(node, scope, 1)
    return Spec(
        node, body, body.inputs[0].name, body.inputs[1].name, body.outputs[0].name, carried, [], stacked,
        None if most is None else max(int(most), 0),
        None if start is None and node.inputs[1] else bool(start is None or start),
    )  # fmt: skip


def one_value(node: Node, scope: Scope, index: int) -> Any:
    """An input of one element, if its value is known."""
    name = node.inputs[index]
    if not name:
        return None
    fact = scope.facts[name]
    if int(np.prod(fact.shape)) != 1:
        raise ShapeError(f"{node}: input {index} has the shape {list(fact.shape)}, one value is needed")
    return None if fact.const is None else np.asarray(fact.const).reshape(-1)[0]


def of_scan(node: Node, scope: Scope) -> Spec:
    registry.find(node)
    body = registry.subgraph(node, "body")
    m = int(attr(node, "num_scan_inputs"))
    n = len(node.inputs) - m
    k = len(body.outputs) - n
    if m < 1 or n < 0 or k < 0 or len(body.inputs) != n + m or len(node.outputs) > len(body.outputs):
        raise OnnxImportError(
            f"{node}: {len(node.inputs)} inputs, {m} of them scanned, do not fit a body with {len(body.inputs)} inputs and "
            f"{len(body.outputs)} outputs; the file is broken"
        )
    axes, turned = _list(node, "scan_input_axes", m), _list(node, "scan_input_directions", m)
    out_axes, out_turned = _list(node, "scan_output_axes", k), _list(node, "scan_output_directions", k)
    scanned = []
    extents = set()
    for j in range(m):
        shape = scope.facts[node.inputs[n + j]].shape if node.inputs[n + j] else ()
        axis = axes[j] + len(shape) * (axes[j] < 0)
        if not 0 <= axis < len(shape):
            raise ShapeError(f"{node}: scan axis {axes[j]} lies outside a value of shape {list(shape)}")
        extents.add(shape[axis])
        scanned.append(Scanned(n + j, axis, bool(turned[j]), body.inputs[n + j].name))
    if len(extents) != 1:
        raise ShapeError(f"{node}: its scan inputs have different lengths {sorted(extents)}")
    carried = [Carried(i, body.inputs[i].name, body.outputs[i].name, i) for i in range(n)]
    stacked = [
        Stacked(port.name, out_axes[j], bool(out_turned[j]), n + j) for j, port in enumerate(body.outputs[n:])
        if n + j < len(node.outputs) and node.outputs[n + j]
    ]  # fmt: skip
    return Spec(node, body, "", "", "", carried, scanned, stacked, extents.pop(), True)


def _list(node: Node, name: str, n: int) -> list[int]:
    found = [int(v) for v in attr(node, name, [0] * n)]
    if len(found) != n:
        raise OnnxImportError(f"{node}: {name} has {len(found)} entries, {n} are needed; the file is broken")
    return found


def has_output(node: Node, index: int) -> bool:
    return index < len(node.outputs) and bool(node.outputs[index])
