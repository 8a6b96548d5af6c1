"""Reshape-25, Squeeze-25, Unsqueeze-25, Flatten-25: other sizes, the same elements in the same order.

A view wherever strides can say it, else one copy. Refused: target shapes and axes that depend on the data.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from .common import normal_axes
from .registry import Infer, Op, attr, need, numbers, register


def _reshape(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    target = numbers(node, need(node, ins, 1), "a shape")
    if not attr(node, "allowzero", 0):
        if any(n == 0 and axis >= len(x.shape) for axis, n in enumerate(target)):
            raise ShapeError(f"{node}: shape {target} copies an axis that the input {list(x.shape)} does not have")
        target = [x.shape[axis] if n == 0 else n for axis, n in enumerate(target)]
    if target.count(-1) > 1 or any(n < -1 for n in target):
        raise ShapeError(f"{node}: {target} is no shape")
    size, rest = prod(x.shape), prod(n for n in target if n != -1)
    if -1 in target and rest and size % rest == 0:
        target[target.index(-1)] = size // rest
    if prod(target) != size or -1 in target:
        raise ShapeError(f"{node}: {size} elements of shape {list(x.shape)} do not fill the shape {target}")
    return [Fact(tuple(target), x.dtype)]


def _axes(node: Node, ins: list[Fact | None]) -> list[int] | None:
    if len(ins) < 2 or ins[1] is None:
        return None
    return numbers(node, ins[1], "axes")


def _squeeze(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    given = _axes(node, ins)
    axes = [a for a, n in enumerate(x.shape) if n == 1] if given is None else normal_axes(node, given, len(x.shape))
    for axis in axes:
        if x.shape[axis] != 1:
            raise ShapeError(f"{node}: axis {axis} of {list(x.shape)} is to be squeezed, its extent is not 1")
    return [Fact(tuple(n for axis, n in enumerate(x.shape) if axis not in axes), x.dtype)]


def _unsqueeze(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    given = _axes(node, ins) or []
    axes = normal_axes(node, given, len(x.shape) + len(given))
    rest = iter(x.shape)
    return [Fact(tuple(1 if axis in axes else next(rest) for axis in range(len(x.shape) + len(axes))), x.dtype)]


def _flatten(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis, rank = int(attr(node, "axis", 1)), len(x.shape)
    if not -rank <= axis <= rank:
        raise ShapeError(f"{node}: axis {axis} lies outside a value of {rank} axes")
    axis += rank if axis < 0 else 0
    return [Fact((prod(x.shape[:axis]), prod(x.shape[axis:])), x.dtype)]


def lower(node: Node, b: Builder) -> None:
    name = node.outputs[0]
    b.bind(name, b.reshape(b.view(node.inputs[0]), b.fact(name).shape))


def _register(
    name: str, infer: Infer, moves: str, *, sizes: tuple[int, ...] = (), why: str = "", extents: int | None = None
) -> None:
    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        x: Array = need(node, ins, 0)
        facts = [None if a is None else Fact.of(a) for a in ins]
        return [np.reshape(x, infer(node, facts)[0].shape)]

    register(
        Op(
            name,
            infer,
            evaluate,
            lower=lower,
            reshapes=True,
            dtypes="any",
            runs="view, else copy",
            moves=moves,
            sizes=sizes,
            why=why,
            extents=extents,
        )
    )


_MIXES = "mixes time with another axis"
_register("Reshape", _reshape, "order", sizes=(1,), why=_MIXES, extents=1)
_register("Squeeze", _squeeze, "axes", sizes=(1,))
_register("Unsqueeze", _unsqueeze, "axes", sizes=(1,))
_register("Flatten", _flatten, "order", why=_MIXES)
