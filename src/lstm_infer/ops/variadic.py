"""Min, Max, Sum, Mean: element-wise over any number of inputs, a few at a time.

Source: the ONNX operator pages of the same names (13).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from .common import broadcast, pass_broadcast
from .formula import Formula, apply, unsigned
from .registry import Op, need, register, unsupported

_MOST_AT_ONCE = 8
"""Inputs in one map: leaves registers for what fusing adds."""


def _variadic(name: str, code: str, function: Callable[..., Any], *, ints: bool, mean: bool = False) -> None:
    def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
        first: Fact = need(node, ins, 0)
        for index in range(len(ins)):
            fact: Fact = need(node, ins, index)
            if fact.dtype != first.dtype or fact.dtype.kind not in ("fiu" if ints else "f"):
                raise unsupported(node, f"inputs of types {first.dtype} and {fact.dtype}")
        return [Fact(broadcast(node, ins), first.dtype)]

    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        total: Any = need(node, ins, 0)
        for index in range(1, len(ins)):
            total = function(total, need(node, ins, index))
        if mean:
            total = total * total.dtype.type(1.0 / len(ins))
        return [np.array(total, need(node, ins, 0).dtype)]

    def lower(node: Node, b: Builder) -> None:
        dtype, out = b.fact(node.inputs[0]).dtype, b.new(node.outputs[0])
        whole = dtype.kind in "iu"
        left = [b.view(value) for value in node.inputs]
        while True:
            now, left = left[:_MOST_AT_ONCE], left[_MOST_AT_ONCE:]
            formula: Formula = 0
            for index in range(1, len(now)):
                formula = (code, formula, index)
            formula = unsigned(formula) if dtype == np.uint64 else formula
            if not left:
                apply(b, ("MUL", formula, 1.0 / len(node.inputs)) if mean else formula, now, out, ints=whole)
                return
            made = b.alloc(out.shape, out.dtype)
            apply(b, formula, now, made, ints=whole)
            left = [made, *left]

    takes = "float, int, uint" if ints else "float"
    mixes = "sum" if function is np.add else "larger"
    register(Op(name, infer, evaluate, pass_broadcast, lower, dtypes=takes, runs="map", mixes=mixes))


_variadic("Min", "MIN", np.minimum, ints=True)
_variadic("Max", "MAX", np.maximum, ints=True)
_variadic("Sum", "ADD", np.add, ints=False)
_variadic("Mean", "ADD", np.add, ints=False, mean=True)
