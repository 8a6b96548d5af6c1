"""Nodes behind the makers of what they read. Most files are in order already; those keep their order."""

from __future__ import annotations

import heapq

from lstm_infer.errors import OnnxImportError
from lstm_infer.importer.tree import RawNode

__all__ = ["ordered"]


def ordered(nodes: list[RawNode], label: str) -> list[RawNode]:
    """The nodes, sorted; refused where they wait for each other."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.outputs if name}
    needs = [{maker[name] for name in node.reads() if name in maker} for node in nodes]
    if all(need < index for index, need_set in enumerate(needs) for need in need_set):
        return nodes
    readers: dict[int, list[int]] = {}
    for index, need_set in enumerate(needs):
        for need in need_set:
            readers.setdefault(need, []).append(index)
    waiting = [len(need_set) for need_set in needs]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = [str(node) for node, count in zip(nodes, waiting, strict=True) if count]
        more = f" and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        raise OnnxImportError(f"{label}: nodes wait for each other in a circle: {', '.join(stuck[:5])}{more}")
    return [nodes[index] for index in order]
