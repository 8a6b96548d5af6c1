"""Element-wise operators, all of them programs of `map`: Add, Mul, Sigmoid, Where, Cast and kin.

One table row gives an operator's program in float32 and, where it has one, in int64; the NumPy meaning stands beside it.
Sources: the ONNX operator pages of the same names, newest version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import Array, Node
from .common import broadcast, pass_broadcast
from .registry import Fact, Op, need, register

if TYPE_CHECKING:
    from ..plan import Builder

Program = Sequence[tuple[Any, ...]]
BOOL = np.dtype(np.bool_)


def _same_dtype(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    dtype: np.dtype[Any] = need(node, ins, 0).dtype
    return dtype


def _bool(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    return BOOL


def elementwise(
    name: str,
    meaning: Callable[..., Any],
    program: Program | Callable[[Node, Builder], tuple[list[Any], Program]],
    *,
    dtype: Callable[[Node, list[Fact | None]], np.dtype[Any]] = _same_dtype,
    ints: Program | None = None,
    n_in: int = 1,
    note: str = "",
) -> None:
    """Register one operator. `program` over registers 0 .. n_in-1, or a function that returns further scalar
    operands (views) and the program over them; `meaning(node, *arrays)` in NumPy."""

    def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
        for index in range(n_in):
            need(node, ins, index)
        return [Fact(broadcast(node, ins), dtype(node, ins))]

    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        out = np.asarray(meaning(node, *ins))
        facts = [None if a is None else Fact.of(a) for a in ins]
        return [out.astype(dtype(node, facts), copy=False)]

    def lower(node: Node, b: Builder) -> None:
        views = [b.view(value) for value in node.inputs]
        whole = ints is not None and all(b.fact(value).dtype.kind in "iub" for value in node.inputs)
        if whole and ints is not None:
            b.map(views, ints, b.new(node.outputs[0]), ints=True)
        elif callable(program):
            scalars, ops = program(node, b)
            b.map([*views, *scalars], ops, b.new(node.outputs[0]))
        else:
            b.map(views, program, b.new(node.outputs[0]))

    register(Op(name, infer, evaluate, pass_broadcast, lower, note=note))


def _np(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, *arrays: function(*arrays)


elementwise("Add", _np(np.add), [("ADD", 0, 1)], ints=[("ADD", 0, 1)], n_in=2)
elementwise("Sub", _np(np.subtract), [("SUB", 0, 1)], ints=[("SUB", 0, 1)], n_in=2)
elementwise("Mul", _np(np.multiply), [("MUL", 0, 1)], ints=[("MUL", 0, 1)], n_in=2)
elementwise("Relu", _np(lambda x: np.maximum(x, 0)), lambda node, b: ([b.scalar(0.0)], [("MAX", 0, 1)]))
elementwise("Tanh", _np(np.tanh), [("TANH", 0)])
elementwise("Neg", _np(np.negative), [("NEG", 0)], ints=[("NEG", 0)])
elementwise("Less", _np(np.less), [("LT", 0, 1)], ints=[("LT", 0, 1)], n_in=2, dtype=_bool)
elementwise("Greater", _np(np.greater), [("LT", 1, 0)], ints=[("LT", 1, 0)], n_in=2, dtype=_bool)
