"""What a node, a body or a constant is, whatever its values are called: equal ones compare equal."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ..graph.ir import Array, Graph, Node

__all__ = ["Forms"]


class Forms:
    """Kept by identity: for one look at a graph that does not change meanwhile."""

    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._forms: dict[int, tuple[object, ...]] = {}

    def of(self, node: Node) -> tuple[object, ...]:
        """All of a node but what its values are called."""
        if id(node) not in self._forms:
            self._forms[id(node)] = self._say(node)
        return self._forms[id(node)]

    def _say(self, node: Node) -> tuple[object, ...]:
        attrs = sorted((k, repr(v)) for k, v in node.attrs.items() if not isinstance(v, Graph))
        bodies = [(k, self._body(v)) for k, v in sorted(node.attrs.items()) if isinstance(v, Graph)]
        return node.domain, node.op, len(node.inputs), len(node.outputs), repr(attrs), repr(bodies)

    def _body(self, graph: Graph) -> object:
        """A body whatever its values are called, and whatever it reads from outside."""
        names: dict[str, int] = {}
        consts = {name: self.content(array) for name, array in graph.consts.items()}

        def say(name: str) -> object:
            return consts.get(name) or (names.setdefault(name, len(names)) if name else -1)

        inputs = [say(port.name) for port in graph.inputs]
        nodes = [
            (node.domain, node.op, [say(v) for v in node.inputs], [say(v) for v in node.outputs], self.of(node)[4:])
            for node in graph.nodes
        ]
        return inputs, nodes, [say(port.name) for port in graph.outputs]

    def content(self, array: Array) -> str:
        """Equal constants have one."""
        if id(array) not in self._digests:
            digest = blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
            self._digests[id(array)] = f"{array.dtype}{array.shape}{digest}"
        return self._digests[id(array)]
