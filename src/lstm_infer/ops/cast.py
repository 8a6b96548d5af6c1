"""Cast-25 and CastLike-25: another element type.

Floats to integers go toward zero, to booleans: true where not 0. All floats are held as float32 while a plan runs,
so that a cast between floats moves nothing, and a cast to float16 does not round.
Refused: strings, complex numbers, bfloat16, 8-bit floats and what is narrower than a byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import storage
from .common import onnx_dtype
from .registry import Op, attr, need, register


def _target(node: Node, ins: list[Any]) -> np.dtype[Any]:
    if node.op == "Cast":
        return onnx_dtype(node, attr(node, "to"))
    dtype: np.dtype[Any] = need(node, ins, 1).dtype
    return dtype


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact(need(node, ins, 0).shape, _target(node, ins))]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    return [x.astype(_target(node, ins))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """CastLike reads nothing of its second input but the type."""
    rank = len(outs[0].shape)
    return [Link(i, a, 0, a) for i, fact in enumerate(ins) if fact for a in range(min(len(fact.shape), rank))]


def lower(node: Node, b: Builder) -> None:
    x, name = b.view(node.inputs[0]), node.outputs[0]
    want = storage(b.fact(name).dtype)
    if x.dtype == want:
        b.bind(name, x)
        return
    b.map([x], [("MOVE", 0)], b.new(name), ints=x.dtype.kind in "iub" and want.kind in "iub")


_NOTE = "floats are computed in float32: a cast to float16 does not round"
for _name in ("Cast", "CastLike"):
    register(
        Op(_name, infer, evaluate, flow, lower, note=_NOTE, dtypes="any", runs="map; view between floats", moves="cast")
    )
