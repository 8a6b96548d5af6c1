"""Products of a file that was quantised: what stands around them as nodes of its own becomes part of them.

    DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by both scales [-> Add of a row]      DynamicQuantizeMatMul
    DynamicQuantizeLinear -> MatMulIntegerToFloat                                               DynamicQuantizeMatMul
    DynamicQuantizeLinear -> ConvInteger -> Cast -> Mul by both scales [-> Add for each filter] DynamicQuantizeConv
    QuantizeLinear -> DequantizeLinear -> MatMul or Gemm, its weights behind DequantizeLinear   StaticQuantizeMatMul
    QuantizeLinear -> DequantizeLinear                                                          QuantizeDequantize

The rules follow the values. Those between product and scaling must have no other reader; weights, scales and zero points
must be known, but for those that DynamicQuantizeLinear makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..frozen import frozen
from ..graph.edit import drop_dead
from ..graph.ir import Array, Graph, Node
from ..ops.registry import moves
from ..program.precision import LONG_ZEROS
from .pairs import Joined, graphs_of, join_pairs

__all__ = ["UNFOLDED", "is_quantised", "join_quantised"]

UNFOLDED = frozenset({"DequantizeLinear"})
"""What stands between weights of 8 bits and a product."""
_FLOAT = 1
"""Cast(to=float32)."""


def is_column(const: Array, m: int, rank: int) -> bool:
    """Is it one number for each of m channels, of [N, M, ...]."""
    return const.shape in ((m, *[1] * (rank - 2)), (1, m, *[1] * (rank - 2)))


@frozen
class _Scene:
    """One graph: who makes its values, how many read each of them, and the constants in sight."""

    made: Mapping[str, Node]
    readers: Mapping[str, int]
    consts: Mapping[str, Array]

    def maker(self, name: str, op: str, *, alone: bool = True) -> Node | None:
        """The node of this operator that makes a value, which (alone) one node reads."""
        node = self.made.get(name) if name else None
        if node is None or (node.op, node.domain) != (op, "") or (alone and self.readers[name] != 1):
            return None
        return node

    def row(self, name: str, m: int, kind: str) -> bool:
        """Is this one number, or one for each of m columns; "" is not."""
        const = self.consts.get(name)
        return const is not None and const.dtype.kind in kind and const.shape in ((), (1,), (m,))

    def column(self, name: str, m: int, rank: int) -> bool:
        """Is this one number, or one for each of m filters, as they lie in what a Conv gives."""
        const = self.consts.get(name)
        return const is not None and const.dtype == np.float32 and (const.size == 1 or is_column(const, m, rank))

    def scaled(self, node: Node | None) -> tuple[Array, Array] | None:
        """Scale and zero point of 8 bits of a QuantizeLinear or DequantizeLinear, where they are known."""
        if node is None or len(node.inputs) != 3 or node.attrs.get("block_size"):
            return None
        scale, zero = (self.consts.get(name) for name in node.inputs[1:])
        if scale is None or zero is None or scale.dtype != np.float32 or zero.dtype.name not in ("int8", "uint8"):
            return None
        return (scale, zero) if scale.size == zero.size and (scale > 0).all() and np.isfinite(scale).all() else None


def is_quantised(graph: Graph) -> bool:
    """Is there anything to join."""
    return any(node.op in _PRODUCTS or node.op in UNFOLDED for node in graph.walk())


def join_quantised(graph: Graph) -> None:
    """Join what can be, in a graph and all inside it, in place."""
    readers = Counter(name for node in graph.walk() for name in node.inputs if name)
    for g in graph.graphs():
        readers.update(port.name for port in g.outputs)
    for g, consts in list(graphs_of(graph, {})):
        scene = _Scene({name: node for node in g.nodes for name in node.outputs if name}, readers, consts)
        joined = [_joined(scene, node) or node for node in g.nodes]
        if any(new is not old for new, old in zip(joined, g.nodes, strict=True)):
            g.nodes[:] = joined
            drop_dead(g)
    join_pairs(graph, _bias)


def _joined(scene: _Scene, node: Node) -> Node | None:
    """What a product becomes, in place of its last node; None where that is none."""
    rule = _RULES.get((node.domain, node.op))
    return rule(scene, node) if rule is not None else None


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    yield names[0], names[1]
    yield names[1], names[0]


def _dynamic(scene: _Scene, last: Node) -> Node | None:
    """DynamicQuantizeMatMul or DynamicQuantizeConv in place of the Mul that brings exact sums to their scale."""
    for summed, scaled in _pairs(last.inputs):
        cast, scales = scene.maker(summed, "Cast"), scene.maker(scaled, "Mul", alone=False)
        product = cast and (scene.maker(cast.inputs[0], "MatMulInteger") or scene.maker(cast.inputs[0], "ConvInteger"))
        if cast is None or cast.attrs.get("to") != _FLOAT or product is None or scales is None:
            continue
        quantised, w, zero, w_zero = [*product.inputs, "", ""][:4]
        for of_x, of_w in _pairs(scales.inputs):
            found = _dynamic_product(scene, product, (quantised, of_x, zero), (w, of_w, w_zero))
            if found is not None:
                return replace(found, outputs=list(last.outputs))
    return None


def _dynamic_to_float(scene: _Scene, node: Node) -> Node | None:
    """The same of MatMulIntegerToFloat."""
    x, w, x_scale, w_scale, x_zero, w_zero, bias = [*node.inputs, *[""] * 7][:7]
    found = _dynamic_product(scene, node, (x, x_scale, x_zero), (w, w_scale, w_zero))
    return found if found is None or not bias else replace(found, inputs=[*found.inputs, bias])


def _dynamic_product(scene: _Scene, product: Node, x: tuple[str, str, str], w: tuple[str, str, str]) -> Node | None:
    """A product of what DynamicQuantizeLinear gives with a known matrix or known filters; each as value, scale, zero point."""
    source, weights = scene.maker(x[0], "DynamicQuantizeLinear", alone=False), scene.consts.get(w[0])
    if source is None or list(x) != source.outputs or weights is None:
        return None
    made = replace(product, opset=1, inputs=[source.inputs[0], *w])
    if product.op == "ConvInteger":
        m, rank = len(weights), weights.ndim
        fits = scene.column(w[1], m, rank) and (not w[2] or scene.row(w[2], m, "iu"))
        return replace(made, op="DynamicQuantizeConv", domain="lstm_infer") if fits and rank > 2 else None
    m = weights.shape[-1] if weights.ndim == 2 else 0
    if not m or not scene.row(w[1], m, "f") or (w[2] and not scene.row(w[2], m, "iu")):
        return None
    return replace(made, op="DynamicQuantizeMatMul", domain="com.microsoft", attrs={})


def _same(one: tuple[Array, Array] | None, other: tuple[Array, Array] | None) -> bool:
    """Are scale and zero point alike."""
    if one is None or other is None:
        return False
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def _rounded(scene: _Scene, last: Node) -> Node | None:
    """The QuantizeLinear whose numbers a DequantizeLinear brings back."""
    first = scene.maker(last.inputs[0], "QuantizeLinear", alone=False)
    if first is None or first.attrs.get("axis", 1) != last.attrs.get("axis", 1):
        return None
    return first if _same(scene.scaled(first), scene.scaled(last)) else None


def _round_trip(scene: _Scene, last: Node) -> Node | None:
    """One operator for QuantizeLinear and DequantizeLinear, none where nothing is rounded that was not before."""
    first, how = _rounded(scene, last), scene.scaled(last)
    if first is None or how is None:
        return None
    before = scene.made.get(first.inputs[0])
    while before is not None and (
        moves(before) in ("axes", "order", "part") or (before.op, before.domain) == ("MaxPool", "")
    ):
        before = scene.made.get(before.inputs[0])
    again = before is not None and (before.op, before.domain) == ("DequantizeLinear", "") and how[0].size == 1
    if again and _same(scene.scaled(before), how):
        return replace(last, op="Identity", opset=13, inputs=first.inputs[:1], attrs={})
    attrs = {"axis": last.attrs.get("axis", 1)}
    return replace(last, op="QuantizeDequantize", domain="lstm_infer", opset=1, inputs=list(first.inputs), attrs=attrs)


def _static(scene: _Scene, product: Node) -> Node | None:
    """StaticQuantizeMatMul for a product of floats that were quantised just before."""
    turned = int(bool(product.attrs.get("transB", 0)))
    plain = all(
        product.attrs.get(name, usual) == usual for name, usual in (("alpha", 1.0), ("beta", 1.0), ("transA", 0))
    )
    left, right = (scene.maker(name, "DequantizeLinear", alone=False) for name in product.inputs[:2])
    if not plain or left is None or right is None:
        return None
    source, x, w = _rounded(scene, left), scene.scaled(left), scene.scaled(right)
    if source is None or x is None or w is None or x[0].size != 1:
        return None
    weights = scene.consts.get(right.inputs[0])
    if weights is None or weights.ndim != 2 or weights.dtype != w[1].dtype or not weights.size:
        return None
    along, k = 0 if turned else 1, weights.shape[1 if turned else 0]
    each = w[0].shape == (weights.shape[along],) and int(right.attrs.get("axis", 1)) in (along, along - 2)  # type: ignore[arg-type]
    if k > LONG_ZEROS or not (w[0].size == 1 or each):
        return None
    inputs = [source.inputs[0], *source.inputs[1:], *right.inputs, *product.inputs[2:]]
    return replace(
        product, op="StaticQuantizeMatMul", domain="lstm_infer", opset=1, inputs=inputs, attrs={"transB": turned}
    )


_PRODUCTS = ("MatMulInteger", "MatMulIntegerToFloat", "ConvInteger")
_RULES: dict[tuple[str, str], Callable[[_Scene, Node], Node | None]] = {
    ("", "Mul"): _dynamic,
    ("com.microsoft", "MatMulIntegerToFloat"): _dynamic_to_float,
    ("", "MatMul"): _static,
    ("", "Gemm"): _static,
    ("", "DequantizeLinear"): _round_trip,
}


def _bias(add: Node, maker: Callable[[str], Node | None], consts: Mapping[str, Array]) -> Joined | None:
    """DynamicQuantizeMatMul or DynamicQuantizeConv with a bias for that and the Add of a row (a rule of `pairs`)."""
    if (add.op, add.domain, len(add.inputs)) != ("Add", "", 2):
        return None
    for value, row in _pairs(add.inputs):
        product, constant = maker(value), consts.get(row)
        if product is None or constant is None or constant.dtype != np.float32:
            continue
        if (product.op, len(product.inputs)) == ("DynamicQuantizeConv", 4):
            filters = consts[product.inputs[1]]
            if is_column(constant, len(filters), filters.ndim):
                return Joined(value, [*product.inputs, row])
        if (product.op, product.domain, len(product.inputs)) != ("DynamicQuantizeMatMul", "com.microsoft", 4):
            continue
        if constant.shape == consts[product.inputs[1]].shape[1:]:
            return Joined(value, [*product.inputs, row])
    return None
