"""Constant folding in the graph itself: chains over constants become constants, an If on a constant its branch.

A walk would find the same, but for every plan anew. Products are left to the walk, and so is what would grow: a first
state of zeros times a matrix must stay a product to be recognised as the first step of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import LstmInferError
from ..graph.budget import limits
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops.registry import find
from ..walk.bodies import is_control
from ..walk.decided import who_decides, why_there
from ..walk.scope import Held
from ..walk.walk import node_facts

__all__ = ["fold"]

MOST_BYTES = 1 << 26
SMALL_BYTES = 1 << 12
"""A folded value may be this large though its inputs are smaller."""

_LEFT = {"MatMul", "Gemm", "Expand", "Tile", "ConstantOfShape", "Einsum"}


def fold(
    graph: Graph,
    constants: Mapping[str, Array],
    outer: Mapping[str, Array] | None = None,
    held: Held | None = None,
    leave: frozenset[str] = frozenset(),
) -> int:
    """Fold in place, subgraphs too; returns how many nodes went. `held`: the bytes of what was folded so far. leave:
    operators of ai.onnx that stay as they are."""
    held = held or Held()
    scope = {**(outer or {}), **constants, **graph.consts}
    for port in graph.inputs:
        if port.name not in constants:
            scope.pop(port.name, None)
    kept: list[Node] = []
    before = len(graph.nodes)
    todo = list(reversed(graph.nodes))
    gone = 0
    while todo:
        node = todo.pop()
        given = scope.get(node.inputs[0]) if node.op == "If" and not node.domain and node.inputs else None
        if given is not None and given.size:
            taken = bool(given.reshape(-1)[0])
            inlined = _branch(graph, node, taken)
            if inlined is not None:
                _say_why(graph, node, taken, inlined[0], constants)
                scope.update({name: graph.consts[name] for name in inlined[1]})
                todo += reversed(inlined[0])
                gone += 1
                continue
        for sub in node.subgraphs():
            gone += fold(sub, {}, scope, held, leave)
        stays = is_control(node) or (not node.domain and node.op in leave)
        made = None if stays else _folded(node, scope, limits().held_bytes - held.n_bytes)
        if made is None:
            kept.append(node)
            continue
        for name, array in made.items():
            scope[name] = graph.consts[name] = array
            held.n_bytes += array.nbytes if array.nbytes > SMALL_BYTES else 0
    graph.nodes[:] = kept
    return gone + max(before - len(kept), 0)


def _folded(node: Node, scope: Mapping[str, Array], room: int) -> dict[str, Array] | None:
    if not node.inputs or any(name and name not in scope for name in node.inputs) or not any(node.inputs):
        return None
    if (not node.domain and node.op in _LEFT) or any(True for _ in node.subgraphs()):
        return None
    ins = [scope[name] if name else None for name in node.inputs]
    try:
        if find(node).random:
            return None
        outs = node_facts(node, [None if a is None else Fact.of(a) for a in ins], room)
    except LstmInferError:
        return None  # a branch that is never taken may be broken
    given = sum(a.nbytes for a in ins if a is not None)
    if any(fact.const is None for fact in outs) or len(outs) < len(node.outputs):
        return None
    arrays = [np.asarray(fact.const) for fact in outs]
    total = sum(a.nbytes for a in arrays)
    if total > MOST_BYTES or total > max(4 * given, SMALL_BYTES):
        return None
    return {name: a for name, a in zip(node.outputs, arrays, strict=False) if name}


def _say_why(graph: Graph, node: Node, taken: bool, branch: Sequence[Node], constants: Mapping[str, Array]) -> None:
    """Keep with the nodes of a branch that one of the caller's constants chose it."""
    facts = {name: Fact.of(np.asarray(value)) for name, value in constants.items()}
    who = who_decides(graph, node, facts) if constants else ""
    if who:
        why = why_there(who, node, "then" if taken else "else")
        graph.chosen.update(dict.fromkeys((inner.name for inner in branch), why))


def _branch(graph: Graph, node: Node, taken: bool) -> tuple[list[Node], list[str]] | None:
    """The nodes of the taken branch, its outputs under the names of the node's, and its constants moved to `graph`."""
    branch = node.attrs.get("then_branch" if taken else "else_branch")
    if not isinstance(branch, Graph) or len(branch.outputs) < len(node.outputs):
        return None
    graph.consts.update(branch.consts)
    ends = [
        Node("Identity", f"{node.name}/{name}", [port.name], [name], opset=node.opset)
        for name, port in zip(node.outputs, branch.outputs, strict=False)
        if name
    ]
    return [*branch.nodes, *ends], list(branch.consts)
