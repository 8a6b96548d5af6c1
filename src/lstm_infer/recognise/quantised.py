"""Products of a file that was quantised: what stands around them as nodes of its own becomes part of them.

    DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by both scales [-> Add of a row]      DynamicQuantizeMatMul

The rule follows the values. Those between product and scaling must have no other reader; weights, their scales and zero
points must be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..graph.edit import drop_dead
from ..graph.ir import Array, Graph, Node
from .pairs import Joined, graphs_of, join_pairs

__all__ = ["join_quantised"]

_FLOAT = 1
"""Cast(to=float32)."""


@dataclass(frozen=True)
class _Scene:
    """One graph: who makes its values, how many read each of them, and the constants in sight."""

    made: Mapping[str, Node]
    readers: Mapping[str, int]
    consts: Mapping[str, Array]

    def maker(self, name: str, op: str, *, alone: bool = True) -> Node | None:
        """The node of this operator that makes a value, which (alone) one node reads."""
        node = self.made.get(name)
        if node is None or (node.op, node.domain) != (op, "") or (alone and self.readers[name] != 1):
            return None
        return node

    def row(self, name: str, m: int, kind: str) -> bool:
        """Is this one number, or one for each of m columns; "" is not."""
        const = self.consts.get(name)
        return const is not None and const.dtype.kind in kind and const.shape in ((), (1,), (m,))


def join_quantised(graph: Graph) -> None:
    """Join what can be, in a graph and all inside it, in place."""
    if not any(node.op in ("MatMulInteger", "ConvInteger", "DequantizeLinear") for node in graph.walk()):
        return
    readers = Counter(name for node in graph.walk() for name in node.inputs if name)
    for g in graph.graphs():
        readers.update(port.name for port in g.outputs)
    for g, consts in list(graphs_of(graph, {})):
        scene = _Scene({name: node for node in g.nodes for name in node.outputs if name}, readers, consts)
        joined = [_dynamic(scene, node) or node for node in g.nodes]
        if any(new is not old for new, old in zip(joined, g.nodes, strict=True)):
            g.nodes[:] = joined
            drop_dead(g)
    join_pairs(graph, _bias)


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    yield names[0], names[1]
    yield names[1], names[0]


def _dynamic(scene: _Scene, last: Node) -> Node | None:
    """DynamicQuantizeMatMul in place of the Mul that brings exact sums to their scale."""
    if (last.op, last.domain, len(last.inputs)) != ("Mul", "", 2):
        return None
    for summed, scaled in _pairs(last.inputs):
        cast, scales = scene.maker(summed, "Cast"), scene.maker(scaled, "Mul", alone=False)
        product = scene.maker(cast.inputs[0], "MatMulInteger") if cast is not None else None
        if cast is None or cast.attrs.get("to") != _FLOAT or product is None or scales is None:
            continue
        quantised, w, zero, w_zero = [*product.inputs, "", ""][:4]
        source, weights = scene.maker(quantised, "DynamicQuantizeLinear", alone=False), scene.consts.get(w)
        if source is None or [quantised, zero] != [source.outputs[0], source.outputs[2]] or weights is None:
            continue
        if weights.ndim != 2 or (w_zero and not scene.row(w_zero, weights.shape[1], "iu")):
            continue
        for of_x, of_w in _pairs(scales.inputs):
            if of_x == source.outputs[1] and scene.row(of_w, weights.shape[1], "f"):
                inputs = [source.inputs[0], w, of_w, w_zero]
                return replace(
                    product, op="DynamicQuantizeMatMul", domain="com.microsoft", opset=1, inputs=inputs,
                    outputs=list(last.outputs), attrs={},
                )  # fmt: skip
    return None


def _bias(add: Node, maker: Callable[[str], Node | None], consts: Mapping[str, Array]) -> Joined | None:
    """DynamicQuantizeMatMul with a bias for that and the Add of a row (a rule of `pairs`)."""
    if (add.op, add.domain, len(add.inputs)) != ("Add", "", 2):
        return None
    for value, row in _pairs(add.inputs):
        product, constant = maker(value), consts.get(row)
        if product is None or constant is None or constant.dtype != np.float32:
            continue
        if (product.op, product.domain, len(product.inputs)) != ("DynamicQuantizeMatMul", "com.microsoft", 4):
            continue
        if constant.shape == consts[product.inputs[1]].shape[1:]:
            return Joined(value, [*product.inputs, row])
    return None
