"""Comparison, logic, bits and choice: Equal, Less, And, IsNaN, BitwiseAnd, BitShift, Where and kin.

Source: the ONNX operator pages of the same names, newest version.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from .common import broadcast, pass_broadcast
from .elementwise import NUMBERS, elementwise, plain
from .formula import Formula, apply
from .registry import Op, attr, need, register

BOOL = np.dtype(np.bool_)


def _bool(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    return BOOL


_ALL = "fiub"
elementwise("Equal", plain(np.equal), ("EQ", 0, 1), kinds=_ALL, ints=True, n_in=2, dtype=_bool)
_ORDER: dict[str, Any] = {"kinds": NUMBERS, "ints": True, "n_in": 2, "dtype": _bool}
elementwise("Less", plain(np.less), ("LT", 0, 1), **_ORDER)
elementwise("LessOrEqual", plain(np.less_equal), ("LE", 0, 1), **_ORDER)
elementwise("Greater", plain(np.greater), ("LT", 1, 0), **_ORDER)
elementwise("GreaterOrEqual", plain(np.greater_equal), ("LE", 1, 0), **_ORDER)
elementwise("Not", plain(np.logical_not), ("NOT", 0), kinds="b", ints=True)
elementwise("And", plain(np.logical_and), ("AND", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("Or", plain(np.logical_or), ("OR", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("Xor", plain(np.logical_xor), ("XOR", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("IsNaN", plain(np.isnan), ("ISNAN", 0), dtype=_bool)


def _is_inf(node: Node, x: Any) -> Any:
    found = np.isinf(x)
    if not attr(node, "detect_negative", 1):
        found = found & ~(x < 0)
    return found & ~(x > 0) if not attr(node, "detect_positive", 1) else found


def _is_inf_formula(node: Node, b: Builder) -> Formula:
    made: Formula = ("ISINF", 0)
    if not attr(node, "detect_negative", 1):
        made = ("AND", made, ("LE", 0.0, 0))
    return ("AND", made, ("LE", 0, 0.0)) if not attr(node, "detect_positive", 1) else made


elementwise("IsInf", _is_inf, _is_inf_formula, dtype=_bool)
elementwise("BitwiseAnd", plain(np.bitwise_and), ("BITAND", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseOr", plain(np.bitwise_or), ("BITOR", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseXor", plain(np.bitwise_xor), ("BITXOR", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseNot", plain(np.bitwise_not), ("BITNOT", 0), kinds="iu", ints=True)


def _shift_check(node: Node, dtype: np.dtype[Any]) -> None:
    if attr(node, "direction") not in ("LEFT", "RIGHT"):
        raise OnnxImportError(
            f"{node}: direction is {attr(node, 'direction')!r}, not LEFT or RIGHT; the file is broken"
        )


def _shift(node: Node, x: Any, n: Any) -> Any:
    return np.left_shift(x, n) if attr(node, "direction") == "LEFT" else np.right_shift(x, n)


elementwise(
    "BitShift",
    _shift,
    lambda node, b: ("SHL" if attr(node, "direction") == "LEFT" else "SHR", 0, 1),
    kinds="u",
    ints=True,
    n_in=2,
    check=_shift_check,
)


# ---- Where-16: condition ? x : y -----------------------------------------------------------------------------------


def _where_infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    condition, x, y = (need(node, ins, index) for index in range(3))
    if condition.dtype != BOOL:
        raise OnnxImportError(f"{node}: the condition is {condition.dtype}, Where takes bool; the file is broken")
    if x.dtype != y.dtype:
        raise OnnxImportError(f"{node}: chooses between {x.dtype} and {y.dtype}, which differ; the file is broken")
    return [Fact(broadcast(node, ins), x.dtype)]


def _where_evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    condition, x, y = (need(node, ins, index) for index in range(3))
    return [np.where(condition, x, y)]


def _where_lower(node: Node, b: Builder) -> None:
    ints = b.fact(node.inputs[1]).dtype.kind in "iub"
    apply(b, ("SELECT", 0, 1, 2), [b.view(value) for value in node.inputs], b.new(node.outputs[0]), ints=ints)


register(
    Op("Where", _where_infer, _where_evaluate, pass_broadcast, _where_lower, dtypes="any", runs="map", mixes="choose")
)
