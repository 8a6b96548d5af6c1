"""ReverseSequence-10: the first sequence_lens[b] positions of each batch entry backwards, the rest as it is.

Constant lengths: copies. Lengths from the data: the slot `reverse`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import Reverse
from ..program.builder import Builder
from .common import pass_through
from .registry import Op, attr, need, register


def _axes(node: Node) -> tuple[int, int]:
    batch, time = int(attr(node, "batch_axis", 1)), int(attr(node, "time_axis", 0))
    if {batch, time} != {0, 1}:
        raise OnnxImportError(f"{node}: batch_axis={batch} and time_axis={time} must be 0 and 1; the file is broken")
    return batch, time


def _lengths(node: Node, lens: Any, n: int) -> list[int]:
    found = [int(length) for length in lens]
    if found and (min(found) < 0 or max(found) > n):
        raise ShapeError(f"{node}: sequence_lens {min(found)} .. {max(found)} lie outside 0..{n}")
    return found


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, lens = need(node, ins, 0), need(node, ins, 1)
    batch, _ = _axes(node)
    if len(x.shape) < 2 or lens.dtype != np.int64 or lens.shape != (x.shape[batch],):
        raise ShapeError(f"{node}: sequence_lens {lens.dtype}{list(lens.shape)} do not fit {list(x.shape)}")
    return [Fact(x.shape, x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x, lens = need(node, ins, 0), need(node, ins, 1)
    batch, time = _axes(node)
    rows = np.moveaxis(np.array(x), (batch, time), (0, 1))
    for row, length in zip(rows, _lengths(node, lens, x.shape[time]), strict=True):
        row[:length] = row[:length][::-1].copy()
    return [np.ascontiguousarray(np.moveaxis(rows, (0, 1), (batch, time)))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    batch, time = _axes(node)
    return [*pass_through(ins, outs, {time: None}), Link(0, time, 0, time, "whole"), Link(1, 0, 0, batch)]


def lower(node: Node, b: Builder) -> None:
    lens = b.const_of(node.inputs[1])
    if lens is None:
        _lower_fed(node, b)
        return
    batch, time = _axes(node)
    x = b.view(node.inputs[0])
    n = x.shape[time]
    lengths = _lengths(node, lens, n)
    if len(set(lengths)) == 1 and lengths[0] == n:
        b.bind(node.outputs[0], x.part(time, n - 1, n, -1))
        return
    out = b.new(node.outputs[0])
    for row, length in enumerate(lengths):
        here, there = out.part(batch, row, 1), x.part(batch, row, 1)
        b.copy(here.part(time, 0, length), there.part(time, length - 1, length, -1))
        b.copy(here.part(time, length, n - length), there.part(time, length, n - length))


def _lower_fed(node: Node, b: Builder) -> None:
    batch, time = _axes(node)
    x, lens, out = b.view(node.inputs[0]), b.dense(b.view(node.inputs[1])), b.new(node.outputs[0])
    x = b.rows(x, len(x.shape) - 2)
    n = x.dtype.itemsize
    args = Reverse(
        dst=out, src=x, lens=lens, T=x.shape[time], B=x.shape[batch], bytes=prod(x.shape[2:]) * n,
        dst_t=out.strides[time] * n, dst_b=out.strides[batch] * n, src_t=x.strides[time] * n, src_b=x.strides[batch] * n,
    )  # fmt: skip
    b.emit("reverse", args)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """Some calls of NumPy for each row."""
    return 8 * prod(outs[0].shape) + 5_000 * outs[0].shape[_axes(node)[0]]


register(
    Op(
        "ReverseSequence",
        infer,
        evaluate,
        flow,
        lower,
        work=_work,
        dtypes="any",
        runs="copy; reverse",
        holds=lambda node, ins: {1: (1, None)},
        why="reverses time",
    )
)
