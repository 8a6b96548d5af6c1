"""Element-wise operators, all of them programs of `map`: what a row of them is, and Add, Mul, Exp, Clip, Pow and kin.

One row gives an operator's formula; the NumPy meaning stands beside it. A formula runs in float32, or in int64 where
`ints` says that it holds there too and all operands are integers or booleans. Here is the arithmetic; activate.py,
logic.py, trigonometry.py and variadic.py have the other rows.

Sources: the ONNX operator pages of the same names, newest version; attributes that became inputs are inputs.
Refused: element types that ONNX does not list for an operator, Mod of floats with fmod=0 before opset 28.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from .common import broadcast, pass_broadcast
from .formula import Formula, apply, unsigned
from .registry import Op, attr, find, need, register, unsupported

__all__ = ["Formula", "apply", "elementwise"]

NUMBERS = "fiu"
_KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}


def same_dtype(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    """The element type of the first input."""
    dtype: np.dtype[Any] = need(node, ins, 0).dtype
    return dtype


def elementwise(
    name: str,
    meaning: Callable[..., Any],
    formula: Formula | Callable[[Node, Builder], Formula],
    *,
    kinds: str = "f",
    dtype: Callable[[Node, list[Fact | None]], np.dtype[Any]] = same_dtype,
    ints: bool = False,
    mixed: bool = False,
    n_in: int = 1,
    n_most: int | None = None,
    check: Callable[[Node, np.dtype[Any]], None] | None = None,
    note: str = "",
    mixes: str = "",
) -> None:
    """Register one operator.

    `meaning(node, *arrays)` in NumPy. `kinds`: NumPy kinds of the element types it takes. `ints`: the formula also
    holds in int64. `mixed`: operands may differ in type. `n_in`: inputs that must be there, at most `n_most` (default:
    as many). `check`: refuses, when the model is loaded, what attributes say that the formula cannot. `mixes`: see Op.
    """

    def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
        if len(ins) > (n_most or n_in):
            raise OnnxImportError(f"{node}: has {len(ins)} inputs, {name} takes {n_most or n_in}; the file is broken")
        for index in range(n_in):
            need(node, ins, index)
        if check is not None:
            check(node, need(node, ins, 0).dtype)
        types = [fact.dtype for fact in ins if fact is not None]
        for found in types:
            if found.kind not in kinds:
                raise unsupported(node, f"element type {found}")
        if not mixed and len(set(types)) > 1:
            raise OnnxImportError(f"{node}: inputs of types {', '.join(map(str, types))} differ; the file is broken")
        return [Fact(broadcast(node, ins), dtype(node, ins))]

    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        facts = [None if a is None else Fact.of(a) for a in ins]
        return [np.asarray(meaning(node, *ins)).astype(dtype(node, facts), copy=False)]

    def lower(node: Node, b: Builder) -> None:
        names = [value for value in node.inputs if value]
        types = [b.fact(value).dtype for value in names]
        whole = ints and all(found.kind in "iub" for found in types)
        made = formula(node, b) if callable(formula) else formula
        if whole and any(found == np.uint64 for found in types):
            made = unsigned(made)
        apply(b, made, [b.view(value) for value in names], b.new(node.outputs[0]), ints=whole)

    takes = ", ".join(word for kind, word in _KINDS.items() if kind in kinds)
    register(Op(name, infer, evaluate, pass_broadcast, lower, note=note, dtypes=takes, runs="map", mixes=mixes))


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function that no attribute changes, as a meaning."""
    return lambda node, *arrays: function(*arrays)


# ---- arithmetic ---------------------------------------------------------------------------------------------


def _div(node: Node, a: Any, b: Any) -> Any:
    """Integers: toward zero (NumPy's own goes down)."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    if not np.all(b):
        raise ValueError("an integer is divided by zero")
    down = np.floor_divide(a, b)
    return down + ((down * b != a) & ((a < 0) != (b < 0)))


def _mod_check(node: Node, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f" and not attr(node, "fmod", 0) and node.opset < 28:
        raise unsupported(node, "Mod of floats with fmod=0 before opset 28")


def _mod(node: Node, a: Any, b: Any) -> Any:
    if a.dtype.kind != "f" and not np.all(b):
        raise ValueError("an integer is divided by zero")
    return np.fmod(a, b) if attr(node, "fmod", 0) else np.mod(a, b)


def _pow(node: Node, a: Any, b: Any) -> Any:
    """Integers to whole powers wrap; to others through float64, toward zero, as onnxruntime does."""
    if a.dtype.kind == "f":
        return np.power(a, b.astype(np.float64) if b.dtype.kind != "f" else b)
    if b.dtype.kind == "f":
        return np.trunc(np.power(a.astype(np.float64), b.astype(np.float64)))
    if np.any((a == 0) & (b < 0)):
        raise ValueError("an integer is divided by zero")
    wide: Any = a.astype(np.uint64 if a.dtype.kind == "u" else np.int64)
    whole = np.power(wide, np.maximum(b, 0).astype(wide.dtype))
    odd = np.where(b % 2 == 1, wide, wide * wide)  # of 1 and -1
    return np.where(b < 0, np.where(abs(wide) == 1, odd, 0), whole)


def _pow_formula(node: Node, b: Builder) -> Formula:
    exponent = b.const_of(node.inputs[1])
    if exponent is not None and exponent.size == 1:
        value = float(exponent.reshape(-1)[0])
        if value == 2.0:
            return ("MUL", 0, 0)
        if value == 3.0:
            return ("MUL", ("MUL", 0, 0), 0)
        if value == -1.0 and b.fact(node.inputs[0]).dtype.kind == "f":
            return ("DIV", 1.0, 0)
        if value == 0.5 and b.fact(node.inputs[0]).dtype.kind == "f":  # unlike Sqrt: +0 of -0, inf of -inf
            return ("SELECT", ("EQ", 0, -np.inf), np.inf, ("ABS", ("SQRT", 0)))
    return ("POW", 0, 1)


def _pow_lower(node: Node, b: Builder) -> None:
    ints = all(b.fact(value).dtype.kind in "iu" for value in node.inputs)
    views = [b.view(value) for value in node.inputs]
    if b.fact(node.inputs[0]).dtype.kind in "iu" and not ints:
        exponent = b.const_of(node.inputs[1])
        if exponent is None or not np.all(np.trunc(exponent) == exponent) or np.any(np.abs(exponent) >= 2.0**63):
            b.host(node, find(node).evaluate)  # a float32 power would not be exact
            return
        key = ("whole powers", id(exponent))
        views[1], ints = b.packed(key, lambda: exponent.astype(np.int64), exponent), True
    apply(b, _pow_formula(node, b), views, b.new(node.outputs[0]), ints=ints)


def _pow_infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    base: Fact = need(node, ins, 0)
    exponent: Fact = need(node, ins, 1)
    for fact in (base, exponent):
        if fact.dtype.kind not in "fiu":
            raise unsupported(node, f"element type {fact.dtype}")
    return [Fact(broadcast(node, [base, exponent]), base.dtype)]


def _pow_evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    a: Array = need(node, ins, 0)
    return [np.asarray(_pow(node, a, need(node, ins, 1))).astype(a.dtype, copy=False)]


register(
    Op(
        "Pow",
        _pow_infer,
        _pow_evaluate,
        pass_broadcast,
        _pow_lower,
        note="integers to powers that are not whole, or not known to be: on the host",
        dtypes="float, int, uint",
        runs="map",
    )
)

elementwise("Add", plain(np.add), ("ADD", 0, 1), kinds=NUMBERS, ints=True, n_in=2, mixes="sum")
elementwise("Sub", plain(np.subtract), ("SUB", 0, 1), kinds=NUMBERS, ints=True, n_in=2, mixes="sum")
elementwise("Mul", plain(np.multiply), ("MUL", 0, 1), kinds=NUMBERS, ints=True, n_in=2, mixes="scale")
elementwise(
    "Div",
    _div,
    ("DIV", 0, 1),
    kinds=NUMBERS,
    ints=True,
    n_in=2,
    note="integers: toward zero",
    mixes="scale",
)
elementwise(
    "Mod",
    _mod,
    lambda node, b: ("FMOD" if attr(node, "fmod", 0) else "MOD", 0, 1),
    kinds=NUMBERS,
    ints=True,
    n_in=2,
    check=_mod_check,
    note="floats with fmod=0 only from opset 28",
)
elementwise("Neg", plain(np.negative), ("NEG", 0), kinds="fi", ints=True, mixes="scale")
elementwise("Abs", plain(np.abs), ("ABS", 0), kinds=NUMBERS, ints=True)
elementwise("Sign", plain(np.sign), ("SIGN", 0), kinds=NUMBERS, ints=True)
elementwise("Reciprocal", plain(np.reciprocal), ("DIV", 1.0, 0))
elementwise("Sqrt", plain(np.sqrt), ("SQRT", 0))
elementwise("Exp", plain(np.exp), ("EXP", 0))
elementwise("Log", plain(np.log), ("LOG", 0))
elementwise("Round", plain(np.rint), ("ROUND", 0), note="half to even")
elementwise("Floor", plain(np.floor), ("FLOOR", 0))
elementwise("Ceil", plain(np.ceil), ("CEIL", 0))


def _erf(node: Node, x: Any) -> Any:
    return np.vectorize(erf, otypes=[np.float64])(x)


elementwise("Erf", _erf, ("ERF", 0))


def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    """Limits that were attributes once come in as float32, whatever x is."""
    if low is not None:
        x = np.maximum(x, low.astype(x.dtype))
    return x if high is None else np.minimum(x, high.astype(x.dtype))


def _clip_formula(node: Node, b: Builder) -> Formula:
    low, high = b.optional(node, 1), b.optional(node, 2)
    made: Formula = ("MAX", 0, 1) if low else 0
    return ("MIN", made, 2 if low else 1) if high else made


elementwise("Clip", _clip, _clip_formula, kinds=NUMBERS, ints=True, mixed=True, n_most=3)
