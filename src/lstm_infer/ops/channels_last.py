"""Operators over [N, ..., C], as onnxruntime writes them when it optimises quantised files: QLinearConv and NhwcMaxPool of
com.microsoft, and others with channels_last=1.

The operator over [N, C, ...] runs on a transposed view of X, and Y is a transposed view of what it makes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .registry import Op, attr, need

__all__ = ["channels_last"]


def channels_last(name: str, inside: Op, inputs: tuple[int, int | None], *, always: bool = False, note: str = "") -> Op:
    """An operator of com.microsoft that is `inside` over channels that may (or `always` do) come last."""
    turn = _Turned(inside, always)
    return Op(
        name,
        turn.infer,
        turn.evaluate,
        turn.flow,
        turn.lower,
        domain="com.microsoft",
        dtypes="int8, uint8",
        inputs=inputs,
        note=note,
        why=inside.why,
        work=turn.work,
    )


@frozen
class _Turned:
    """What an operator over [N, C, ...] says of itself, where its X and Y are [N, ..., C]."""

    inside: Op
    always: bool

    def last(self, node: Node) -> bool:
        """Do the channels come last."""
        return self.always or bool(attr(node, "channels_last", 0))

    def order(self, node: Node, rank: int) -> list[int]:
        """Axes of X as `inside` wants them."""
        if rank < 2:
            raise ShapeError(f"{node}: takes a batch, channels and spatial axes, got {rank} axes")
        return [0, rank - 1, *range(1, rank - 1)] if self.last(node) else list(range(rank))

    def inner(self, node: Node) -> Node:
        """The node of `inside`, over values of its own."""
        return replace(
            node,
            op=self.inside.name,
            domain=self.inside.domain,
            opset=0,
            attrs={key: value for key, value in node.attrs.items() if key != "channels_last"},
            inputs=[f"{node.name}/turned", *node.inputs[1:]],
            outputs=[f"{node.name}/to turn"],
        )

    def turned(self, node: Node, ins: list[Fact | None]) -> list[Fact | None]:
        """What `inside` is given."""
        x: Fact = need(node, ins, 0)
        return [Fact(tuple(x.shape[a] for a in self.order(node, len(x.shape))), x.dtype), *ins[1:]]

    def infer(self, node: Node, ins: list[Fact | None]) -> list[Fact]:
        """Shape of Y."""
        made = self.inside.infer(self.inner(node), self.turned(node, ins))[0]
        order = self.order(node, len(made.shape))
        return [Fact(tuple(made.shape[order.index(a)] for a in range(len(order))), made.dtype)]

    def work(self, node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
        """What that costs."""
        order = self.order(node, len(outs[0].shape))
        made = [Fact(tuple(outs[0].shape[a] for a in order), outs[0].dtype)]
        work = self.inside.work
        return 0 if work is None else work(self.inner(node), self.turned(node, ins), made)

    def evaluate(self, node: Node, ins: list[Array | None]) -> list[Array]:
        """Y by NumPy."""
        x: Any = need(node, ins, 0)
        order = self.order(node, x.ndim)
        y = self.inside.evaluate(self.inner(node), [x.transpose(order), *ins[1:]])[0]
        return [np.ascontiguousarray(y.transpose(np.argsort(order)))]

    def flow(self, node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
        """A window cannot give up its padding along one axis where the channels come last: that axis is needed whole."""
        order = self.order(node, len(outs[0].shape))
        made = [Fact(tuple(outs[0].shape[a] for a in order), outs[0].dtype)]
        links = self.inside.flow(self.inner(node), self.turned(node, ins), made)
        if not self.last(node):
            return links
        return [
            replace(link, axis=order[link.axis], out_axis=order[link.out_axis])
            for link in links
            if link.kind == "same" and link.input == 0
        ]

    def lower(self, node: Node, b: Builder) -> None:
        """`inside` over a transposed view of X; Y is a transposed view of what it makes."""
        part, x, out = self.inner(node), b.view(node.inputs[0]), b.fact(node.outputs[0])
        order = self.order(node, len(b.fact(node.inputs[0]).shape))
        b.views[part.inputs[0]] = x.transpose(order)
        b.facts[part.inputs[0]] = Fact(tuple(x.shape[a] for a in order), x.dtype)
        b.facts[part.outputs[0]] = Fact(tuple(out.shape[a] for a in order), out.dtype)
        assert self.inside.lower is not None
        self.inside.lower(part, b)
        back = [order.index(a) for a in range(len(order))]
        b.bind(node.outputs[0], b.view(part.outputs[0]).transpose(back))
