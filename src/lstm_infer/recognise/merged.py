"""Nodes that do the same to the same become one, as far as a rewrite has to see that they are."""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..ops.registry import find
from .loops import rename

__all__ = ["merge_equal"]

SMALL = 16
"""Elements of a constant that is compared by its content: positions, axes."""


def merge_equal(graph: Graph) -> None:
    """In place; values that are graph outputs keep their names."""
    outputs = {port.name for port in graph.outputs}
    names: dict[str, str] = {}
    seen: dict[object, Node] = {}
    kept: list[Node] = []

    def say(name: str) -> object:
        const = graph.consts.get(name)
        return name if const is None or const.size > SMALL else (str(const.dtype), const.shape, const.tobytes())

    for node in graph.nodes:
        inside = any(True for _ in node.subgraphs())
        if names and inside:
            attrs = {k: rename(v, names) if isinstance(v, Graph) else v for k, v in node.attrs.items()}
            node.attrs.update(attrs)
        node.inputs[:] = [names.get(v, v) for v in node.inputs]
        kept.append(node)
        if inside or node.op == "Steps" or find(node).random:
            continue
        key = (node.domain, node.op, len(node.outputs), repr(sorted((k, repr(v)) for k, v in node.attrs.items())))
        first = seen.setdefault((key, *map(say, node.inputs)), node)
        if first is node:
            continue
        kept.pop()
        for old, new in zip(node.outputs, first.outputs, strict=True):
            if not old:
                continue
            if not new or old in outputs:
                kept.append(node)
                break
        else:
            names.update({old: new for old, new in zip(node.outputs, first.outputs, strict=True) if old})
    graph.nodes[:] = kept
