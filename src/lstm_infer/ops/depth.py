"""DepthToSpace-13 and SpaceToDepth-28 (modes DCR, CRD): blocks of an image to channels and back; one copy at most."""

from __future__ import annotations

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .registry import Op, attr, need, register


def _order(node: Node, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shape before, order of axes, shape behind."""
    if len(shape) != 4:
        raise ShapeError(f"{node}: takes [N, C, H, W], got {list(shape)}")
    n, c, h, w = shape
    s = int(attr(node, "blocksize"))
    mode = str(attr(node, "mode", "DCR"))
    if mode not in ("DCR", "CRD"):
        raise OnnxImportError(f"{node}: mode {mode!r} is neither DCR nor CRD; the file is broken")
    if node.op == "SpaceToDepth":
        if s < 1 or h % s or w % s:
            raise ShapeError(f"{node}: blocks of {s} do not divide {list(shape)}")
        order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return (n, c, h // s, s, w // s, s), order, (n, c * s * s, h // s, w // s)
    if s < 1 or c % (s * s):
        raise ShapeError(f"{node}: {c} channels do not divide into blocks of {s} x {s}")
    behind = (n, c // (s * s), h * s, w * s)
    if mode == "DCR":
        return (n, s, s, c // (s * s), h, w), (0, 3, 4, 1, 5, 2), behind
    return (n, c // (s * s), s, s, h, w), (0, 1, 4, 2, 5, 3), behind


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    return [Fact(_order(node, x.shape)[2], x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    before, order, behind = _order(node, x.shape)
    return [x.reshape(before).transpose(order).reshape(behind)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0)]


def lower(node: Node, b: Builder) -> None:
    x = b.view(node.inputs[0])
    before, order, behind = _order(node, x.shape)
    b.bind(node.outputs[0], b.reshape(b.reshape(x, before).transpose(order), behind))


register(
    Op("DepthToSpace", infer, evaluate, flow, lower, dtypes="any", runs="copy"),
    Op("SpaceToDepth", infer, evaluate, flow, lower, dtypes="any", runs="copy"),
)
