"""Identity-25, and Dropout-22 as it is at inference: the same value under another name.

Refused: Dropout with training_mode. Its mask is all true.
"""

from __future__ import annotations

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .common import pass_through
from .registry import Op, known, need, register, unsupported


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    return [Fact(x.shape, x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    return [need(node, ins, 0)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return pass_through(ins, outs, {})


def lower(node: Node, b: Builder) -> None:
    b.bind(node.outputs[0], b.view(node.inputs[0]))


def infer_dropout(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if len(ins) > 2 and ins[2] is not None and known(node, ins[2], "training_mode").any():
        raise unsupported(node, "training_mode=1 (export the model for inference)")
    outs = [Fact(x.shape, x.dtype)]
    return [*outs, Fact.of(np.broadcast_to(np.True_, x.shape))] if len(node.outputs) > 1 else outs


def evaluate_dropout(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    return [x, np.ones(x.shape, np.bool_)][: max(len(node.outputs), 1)]


register(Op("Identity", infer, evaluate, flow, lower, dtypes="any", runs="view", moves="axes"))
register(Op("Dropout", infer_dropout, evaluate_dropout, flow, lower, note="inference only", runs="view", moves="axes"))
