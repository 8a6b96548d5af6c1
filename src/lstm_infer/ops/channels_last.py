"""Operators over [N, ..., C], as onnxruntime writes them when it optimises quantised files: QLinearConv and NhwcMaxPool of
com.microsoft, and others with channels_last=1.

The operator over [N, C, ...] runs on a transposed view of X, and Y is a transposed view of what it makes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .registry import Op, attr, need

__all__ = ["channels_last"]


def channels_last(name: str, inside: Op, inputs: tuple[int, int | None], *, always: bool = False, note: str = "") -> Op:
    """An operator of com.microsoft that is `inside` over channels that may (or `always` do) come last."""

    def last(node: Node) -> bool:
        return always or bool(attr(node, "channels_last", 0))

    def first_order(node: Node, rank: int) -> list[int]:
        """Axes of X as `inside` wants them."""
        if rank < 2:
            raise ShapeError(f"{node}: takes a batch, channels and spatial axes, got {rank} axes")
        return [0, rank - 1, *range(1, rank - 1)] if last(node) else list(range(rank))

    def inner(node: Node) -> Node:
        attrs = {key: value for key, value in node.attrs.items() if key != "channels_last"}
        names = [f"{node.name}/turned", *node.inputs[1:]], [f"{node.name}/to turn"]
        return replace(
            node, op=inside.name, domain=inside.domain, opset=0, attrs=attrs, inputs=names[0], outputs=names[1]
        )

    def turned(node: Node, ins: list[Fact | None]) -> list[Fact | None]:
        x: Fact = need(node, ins, 0)
        return [Fact(tuple(x.shape[a] for a in first_order(node, len(x.shape))), x.dtype), *ins[1:]]

    def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
        made = inside.infer(inner(node), turned(node, ins))[0]
        order = first_order(node, len(made.shape))
        return [Fact(tuple(made.shape[order.index(a)] for a in range(len(order))), made.dtype)]

    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        x: Any = need(node, ins, 0)
        order = first_order(node, x.ndim)
        y = inside.evaluate(inner(node), [x.transpose(order), *ins[1:]])[0]
        return [np.ascontiguousarray(y.transpose(np.argsort(order)))]

    def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
        """A window cannot give up its padding along one axis where the channels come last: that axis is needed whole."""
        order = first_order(node, len(outs[0].shape))
        made = [Fact(tuple(outs[0].shape[a] for a in order), outs[0].dtype)]
        links = inside.flow(inner(node), turned(node, ins), made)
        if not last(node):
            return links
        return [
            replace(link, axis=order[link.axis], out_axis=order[link.out_axis])
            for link in links
            if link.kind == "same" and link.input == 0
        ]

    def lower(node: Node, b: Builder) -> None:
        part = inner(node)
        x, out, order = (
            b.view(node.inputs[0]),
            b.fact(node.outputs[0]),
            first_order(node, len(b.fact(node.inputs[0]).shape)),
        )
        b.views[part.inputs[0]] = x.transpose(order)
        b.facts[part.inputs[0]] = Fact(tuple(x.shape[a] for a in order), x.dtype)
        b.facts[part.outputs[0]] = Fact(tuple(out.shape[a] for a in order), out.dtype)
        assert inside.lower is not None
        inside.lower(part, b)
        back = [order.index(a) for a in range(len(order))]
        b.bind(node.outputs[0], b.view(part.outputs[0]).transpose(back))

    return Op(
        name,
        infer,
        evaluate,
        flow,
        lower,
        domain="com.microsoft",
        dtypes="int8, uint8",
        inputs=inputs,
        note=note,
        why=inside.why,
        work=inside.work,
    )
