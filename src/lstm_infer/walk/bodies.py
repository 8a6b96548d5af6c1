"""The walk of Loop, Scan and If: their bodies at the sizes of what goes in.

An If on a known condition keeps its taken branch. A loop whose values are all known is computed; one whose carried
values change their shape is unrolled, if it is short. What is left becomes a `Repeat` or a `Choice` (ops/control.py).
"""

from __future__ import annotations

from ..errors import OnnxImportError
from ..graph.ir import Node
from .branch import walk_if
from .count import count
from .graphs import instance, makers_in, source_of
from .loop import walk_loop
from .scope import Scope, needed
from .visits import check_steps
from .written import of_loop, of_scan

__all__ = ["Scope", "count", "instance", "is_control", "makers_in", "needed", "source_of", "walk_control"]


_WITH_BODIES = frozenset(("If", "Loop", "Scan", "Steps"))


def is_control(node: Node) -> bool:
    """Does the node hold graphs that are walked here."""
    return node.op in _WITH_BODIES and node.domain == ("lstm_infer" if node.op == "Steps" else "")


def walk_control(node: Node, scope: Scope) -> None:
    """Walk one of them."""
    for name in node.inputs:
        if name and name not in scope.facts:
            raise OnnxImportError(f"{node}: input {name!r} is made by no node before it; the file is broken")
    if node.op == "If":
        walk_if(node, scope)
    elif node.op == "Steps":
        check_steps(node, scope)
    elif node.op == "Loop":
        walk_loop(of_loop(node, scope), scope)
    else:
        walk_loop(of_scan(node, scope), scope)
