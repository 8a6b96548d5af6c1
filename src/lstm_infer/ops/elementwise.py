"""Element-wise operators, all of them programs of `map`: Add, Mul, Sigmoid, Where, Clip, Equal and kin.

One row gives an operator's formula; the NumPy meaning stands beside it. A formula is a nested tuple (instruction,
operand, ...) whose operands are numbers of inputs (int), constants (float) or formulas. Equal parts are computed once.
It runs in float32, or in int64 where `ints` says that it holds there too and all operands are integers or booleans.

Sources: the ONNX operator pages of the same names, newest version; attributes that became inputs are inputs.
Refused: element types that ONNX does not list for an operator, Mod of floats with fmod=0 before opset 28.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf, log
from typing import Any

import numpy as np

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from ..program.views import View
from .common import broadcast, pass_broadcast
from .registry import Op, attr, find, need, register, unsupported

__all__ = ["Formula", "apply", "elementwise"]

Formula = int | float | tuple[Any, ...]
BOOL = np.dtype(np.bool_)
_KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}


def apply(b: Builder, formula: Formula, ins: Sequence[View], out: View, *, ints: bool = False) -> None:
    """One map step that computes `formula` over `ins`."""
    constants: dict[str, float] = {}
    _constants(formula, constants)
    dtype = np.int64 if ints else np.float32
    views = [*ins, *(b.scalar(int(c) if ints else c, dtype) for c in constants.values())]
    place = {key: len(ins) + index for index, key in enumerate(constants)}
    ops: list[tuple[Any, ...]] = []
    made: dict[str, int] = {}

    def register_of(part: Formula) -> int:
        if isinstance(part, int):
            return part
        key = repr(part)  # unlike the value it tells input 0, 0.0 and -0.0 apart
        if isinstance(part, float):
            return place[key]
        if key not in made:
            args = [register_of(operand) for operand in part[1:]]
            ops.append((part[0], *args))
            made[key] = len(views) + len(ops) - 1
        return made[key]

    register_of(formula if isinstance(formula, tuple) else ("MOVE", formula))
    b.map(views, ops, out, ints=ints)


def _constants(part: Formula, found: dict[str, float]) -> None:
    if isinstance(part, float):
        found[repr(part)] = part
    elif isinstance(part, tuple):
        for operand in part[1:]:
            _constants(operand, found)


def _same_dtype(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    dtype: np.dtype[Any] = need(node, ins, 0).dtype
    return dtype


def _bool(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    return BOOL


def elementwise(
    name: str,
    meaning: Callable[..., Any],
    formula: Formula | Callable[[Node, Builder], Formula],
    *,
    kinds: str = "f",
    dtype: Callable[[Node, list[Fact | None]], np.dtype[Any]] = _same_dtype,
    ints: bool = False,
    wraps: bool = True,
    mixed: bool = False,
    n_in: int = 1,
    n_most: int | None = None,
    note: str = "",
) -> None:
    """Register one operator.

    `meaning(node, *arrays)` in NumPy. `kinds`: NumPy kinds of the element types it takes. `ints`: the formula also
    holds in int64. `wraps`: it also holds for uint64 taken as int64 (else those run on the host). `mixed`: operands
    may differ in type. `n_in`: inputs that must be there, at most `n_most` (default: as many).
    """

    def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
        if len(ins) > (n_most or n_in):
            raise OnnxImportError(f"{node}: has {len(ins)} inputs, {name} takes {n_most or n_in}; the file is broken")
        for index in range(n_in):
            need(node, ins, index)
        if callable(formula):
            _check(node, need(node, ins, 0).dtype)
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
        if whole and not wraps and any(found == np.uint64 for found in types):
            b.host(node, find(node).evaluate)
            return
        made = formula(node, b) if callable(formula) else formula
        apply(b, made, [b.view(value) for value in names], b.new(node.outputs[0]), ints=whole)

    takes = ", ".join(word for kind, word in _KINDS.items() if kind in kinds)
    register(Op(name, infer, evaluate, pass_broadcast, lower, note=note, dtypes=takes, runs="map"))


def _check(node: Node, dtype: np.dtype[Any]) -> None:
    """What a formula that depends on attributes would refuse, refused when the model is loaded."""
    if node.op == "Mod" and dtype.kind == "f" and not attr(node, "fmod", 0) and node.opset < 28:
        raise unsupported(node, "Mod of floats with fmod=0 before opset 28")
    if node.op == "BitShift" and attr(node, "direction") not in ("LEFT", "RIGHT"):
        raise OnnxImportError(
            f"{node}: direction is {attr(node, 'direction')!r}, not LEFT or RIGHT; the file is broken"
        )


def _np(function: Callable[..., Any]) -> Callable[..., Any]:
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


def _mod(node: Node, a: Any, b: Any) -> Any:
    if a.dtype.kind != "f" and not np.all(b):
        raise ValueError("an integer is divided by zero")
    return np.fmod(a, b) if attr(node, "fmod", 0) else np.mod(a, b)


def _pow(node: Node, a: Any, b: Any) -> Any:
    """Integers through float64, toward zero, as onnxruntime does; exact below 2**53."""
    if a.dtype.kind == "f":
        return np.power(a, b.astype(np.float64) if b.dtype.kind != "f" else b)
    return np.trunc(np.power(a.astype(np.float64), b.astype(np.float64)))


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
    base, exponent = (b.fact(value).dtype.kind for value in node.inputs)
    ints = base in "iu" and exponent in "iu"
    if base in "iu":  # a float32 power would not be exact
        b.host(node, find(node).evaluate)
        return
    apply(b, _pow_formula(node, b), [b.view(value) for value in node.inputs], b.new(node.outputs[0]), ints=ints)


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
        note="integer bases run on the host",
        dtypes="float, int, uint",
        runs="map",
    )
)

_NUMBERS = "fiu"
elementwise("Add", _np(np.add), ("ADD", 0, 1), kinds=_NUMBERS, ints=True, n_in=2)
elementwise("Sub", _np(np.subtract), ("SUB", 0, 1), kinds=_NUMBERS, ints=True, n_in=2)
elementwise("Mul", _np(np.multiply), ("MUL", 0, 1), kinds=_NUMBERS, ints=True, n_in=2)
elementwise("Div", _div, ("DIV", 0, 1), kinds=_NUMBERS, ints=True, wraps=False, n_in=2, note="integers: toward zero")
elementwise(
    "Mod",
    _mod,
    lambda node, b: ("FMOD" if attr(node, "fmod", 0) else "MOD", 0, 1),
    kinds=_NUMBERS,
    ints=True,
    wraps=False,
    n_in=2,
    note="floats with fmod=0 only from opset 28",
)
elementwise("Neg", _np(np.negative), ("NEG", 0), kinds="fi", ints=True)
elementwise("Abs", _np(np.abs), ("ABS", 0), kinds=_NUMBERS, ints=True, wraps=False)
elementwise("Sign", _np(np.sign), ("SIGN", 0), kinds=_NUMBERS, ints=True, wraps=False)
elementwise("Reciprocal", _np(np.reciprocal), ("DIV", 1.0, 0))
elementwise("Sqrt", _np(np.sqrt), ("SQRT", 0))
elementwise("Exp", _np(np.exp), ("EXP", 0))
elementwise("Log", _np(np.log), ("LOG", 0))
elementwise("Round", _np(np.rint), ("ROUND", 0), note="half to even")
elementwise("Floor", _np(np.floor), ("FLOOR", 0))
elementwise("Ceil", _np(np.ceil), ("CEIL", 0))


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


elementwise("Clip", _clip, _clip_formula, kinds=_NUMBERS, ints=True, wraps=False, mixed=True, n_most=3)


# ---- any number of inputs ------------------------------------------------------------------------------------

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
        if dtype == np.uint64:
            b.host(node, find(node).evaluate)
            return
        whole = dtype.kind in "iu"
        left = [b.view(value) for value in node.inputs]
        while True:
            now, left = left[:_MOST_AT_ONCE], left[_MOST_AT_ONCE:]
            formula: Formula = 0
            for index in range(1, len(now)):
                formula = (code, formula, index)
            if not left:
                apply(b, ("MUL", formula, 1.0 / len(node.inputs)) if mean else formula, now, out, ints=whole)
                return
            made = b.alloc(out.shape, out.dtype)
            apply(b, formula, now, made, ints=whole)
            left = [made, *left]

    takes = "float, int, uint" if ints else "float"
    register(Op(name, infer, evaluate, pass_broadcast, lower, dtypes=takes, runs="map"))


_variadic("Min", "MIN", np.minimum, ints=True)
_variadic("Max", "MAX", np.maximum, ints=True)
_variadic("Sum", "ADD", np.add, ints=False)
_variadic("Mean", "ADD", np.add, ints=False, mean=True)


# ---- trigonometric and hyperbolic ----------------------------------------------------------------------------


def _log1p(u: Formula) -> Formula:
    """log(1 + u) from log alone (Kahan): u * log(w) / (w - 1) with w = 1 + u rounded; exact where w is 1 or u."""
    w = ("ADD", 1.0, u)
    long = ("DIV", ("MUL", u, ("LOG", w)), ("SUB", w, 1.0))
    return ("SELECT", ("EQ", w, 1.0), u, ("SELECT", ("EQ", w, u), ("LOG", w), long))


_A = ("ABS", 0)
_LARGE = 1e9
"""From here on sqrt(x * x + 1) is x in float32, and x * x may overflow soon."""
_ASIN = ("ATAN", ("DIV", 0, ("SQRT", ("MUL", ("SUB", 1.0, 0), ("ADD", 1.0, 0)))))
_ACOS = ("MUL", 2.0, ("ATAN", ("SQRT", ("DIV", ("SUB", 1.0, 0), ("ADD", 1.0, 0)))))
_HALF_EXP = ("EXP", ("MUL", 0.5, 0))  # exp(x) = e * e: does not overflow before the result does
_RISING = ("MUL", ("MUL", 0.5, _HALF_EXP), _HALF_EXP)
_FALLING = ("DIV", ("DIV", 0.5, _HALF_EXP), _HALF_EXP)
_T = ("TANH", ("MUL", 0.5, 0))  # near 0: sinh = 2 t / (1 - t t), without the cancellation
_SINH = (
    "SELECT",
    ("LT", _A, 1.0),
    ("DIV", ("MUL", 2.0, _T), ("SUB", 1.0, ("MUL", _T, _T))),
    ("SUB", _RISING, _FALLING),
)
_LOG_2X = ("ADD", ("LOG", _A), log(2.0))
_ASINH_U = ("ADD", _A, ("MUL", _A, ("DIV", _A, ("ADD", 1.0, ("SQRT", ("ADD", ("MUL", _A, _A), 1.0))))))
_ASINH = ("MUL", ("SIGN", 0), ("SELECT", ("LT", _LARGE, _A), _LOG_2X, _log1p(_ASINH_U)))
_D = ("SUB", 0, 1.0)
_ACOSH_U = ("ADD", _D, ("SQRT", ("MUL", _D, ("ADD", 0, 1.0))))
_ACOSH = ("SELECT", ("LT", _LARGE, 0), _LOG_2X, _log1p(_ACOSH_U))
_ATANH = ("MUL", ("MUL", 0.5, ("SIGN", 0)), _log1p(("DIV", ("MUL", 2.0, _A), ("SUB", 1.0, _A))))

elementwise("Sin", _np(np.sin), ("SIN", 0))
elementwise("Cos", _np(np.cos), ("COS", 0))
elementwise("Tan", _np(np.tan), ("DIV", ("SIN", 0), ("COS", 0)))
elementwise("Asin", _np(np.arcsin), _ASIN)
elementwise("Acos", _np(np.arccos), _ACOS)
elementwise("Atan", _np(np.arctan), ("ATAN", 0))
elementwise("Sinh", _np(np.sinh), _SINH)
elementwise("Cosh", _np(np.cosh), ("ADD", _RISING, _FALLING))
elementwise("Asinh", _np(np.arcsinh), _ASINH)
elementwise("Acosh", _np(np.arccosh), _ACOSH)
elementwise("Atanh", _np(np.arctanh), _ATANH)


# ---- activations -----------------------------------------------------------------------------------------------


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _f(node: Node, name: str, default: float) -> float:
    return float(attr(node, name, default))


def _selu(node: Node, x: Any) -> Any:
    alpha, gamma = _f(node, "alpha", 1.6732632), _f(node, "gamma", 1.0507010)
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _hard_sigmoid(node: Node, x: Any) -> Any:
    return np.clip(_f(node, "alpha", 0.2) * x + _f(node, "beta", 0.5), 0, 1)


def _shrink(node: Node, x: Any) -> Any:
    lambd, bias = _f(node, "lambd", 0.5), _f(node, "bias", 0.0)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.zeros_like(x)))


def _unit(part: Formula) -> Formula:
    return ("MIN", ("MAX", part, 0.0), 1.0)


def _exp_minus_1(part: Formula) -> Formula:
    return ("SUB", ("EXP", part), 1.0)


elementwise("Relu", _np(lambda x: np.maximum(x, 0)), ("MAX", 0, 0.0), kinds="fi", ints=True)
elementwise("Sigmoid", _np(_sigmoid), ("SIGMOID", 0))
elementwise("Tanh", _np(np.tanh), ("TANH", 0))
elementwise("Softplus", _np(_softplus), ("SOFTPLUS", 0))
elementwise("Softsign", _np(lambda x: x / (1 + np.abs(x))), ("DIV", 0, ("ADD", 1.0, ("ABS", 0))))
elementwise(
    "LeakyRelu",
    lambda node, x: np.where(x < 0, _f(node, "alpha", 0.01) * x, x),
    lambda node, b: ("SELECT", ("LT", 0, 0.0), ("MUL", _f(node, "alpha", 0.01), 0), 0),
)
elementwise(
    "PRelu",
    _np(lambda x, slope: np.where(x < 0, slope * x, x)),
    ("SELECT", ("LT", 0, 0.0), ("MUL", 1, 0), 0),
    kinds=_NUMBERS,
    ints=True,
    wraps=False,
    n_in=2,
)
elementwise(
    "Elu",
    lambda node, x: np.where(x < 0, _f(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0)), x),
    lambda node, b: ("SELECT", ("LT", 0, 0.0), ("MUL", _f(node, "alpha", 1.0), _exp_minus_1(0)), 0),
)
elementwise(
    "Selu",
    _selu,
    lambda node, b: (
        "MUL",
        _f(node, "gamma", 1.0507010),
        ("SELECT", ("LT", 0, 0.0), ("MUL", _f(node, "alpha", 1.6732632), _exp_minus_1(0)), 0),
    ),
)
elementwise(
    "Celu",
    lambda node, x: np.maximum(x, 0) + np.minimum(0, _f(node, "alpha", 1.0) * np.expm1(x / _f(node, "alpha", 1.0))),
    lambda node, b: (
        "ADD",
        ("MAX", 0, 0.0),
        ("MIN", 0.0, ("MUL", _f(node, "alpha", 1.0), _exp_minus_1(("DIV", 0, _f(node, "alpha", 1.0))))),
    ),
)
elementwise(
    "ThresholdedRelu",
    lambda node, x: np.where(x > _f(node, "alpha", 1.0), x, np.zeros_like(x)),
    lambda node, b: ("SELECT", ("LT", _f(node, "alpha", 1.0), 0), 0, 0.0),
)
elementwise(
    "HardSigmoid",
    _hard_sigmoid,
    lambda node, b: _unit(("ADD", ("MUL", _f(node, "alpha", 0.2), 0), _f(node, "beta", 0.5))),
)
elementwise(
    "HardSwish",
    _np(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("MUL", 0, _unit(("ADD", ("MUL", 1 / 6, 0), 0.5))),
)
elementwise(
    "Swish",
    lambda node, x: x * _sigmoid(_f(node, "alpha", 1.0) * x),
    lambda node, b: ("MUL", 0, ("SIGMOID", ("MUL", _f(node, "alpha", 1.0), 0))),
)
elementwise("Mish", _np(lambda x: x * np.tanh(_softplus(x))), ("MUL", 0, ("TANH", ("SOFTPLUS", 0))))
elementwise(
    "Shrink",
    _shrink,
    lambda node, b: (
        "SELECT",
        ("LT", 0, -_f(node, "lambd", 0.5)),
        ("ADD", 0, _f(node, "bias", 0.0)),
        ("SELECT", ("LT", _f(node, "lambd", 0.5), 0), ("SUB", 0, _f(node, "bias", 0.0)), 0.0),
    ),
)


# ---- comparison, logic, bits -------------------------------------------------------------------------------------

_ALL = "fiub"
elementwise("Equal", _np(np.equal), ("EQ", 0, 1), kinds=_ALL, ints=True, n_in=2, dtype=_bool)
_ORDER: dict[str, Any] = {"kinds": _NUMBERS, "ints": True, "wraps": False, "n_in": 2, "dtype": _bool}
elementwise("Less", _np(np.less), ("LT", 0, 1), **_ORDER)
elementwise("LessOrEqual", _np(np.less_equal), ("LE", 0, 1), **_ORDER)
elementwise("Greater", _np(np.greater), ("LT", 1, 0), **_ORDER)
elementwise("GreaterOrEqual", _np(np.greater_equal), ("LE", 1, 0), **_ORDER)
elementwise("Not", _np(np.logical_not), ("NOT", 0), kinds="b", ints=True)
elementwise("And", _np(np.logical_and), ("AND", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("Or", _np(np.logical_or), ("OR", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("Xor", _np(np.logical_xor), ("XOR", 0, 1), kinds="b", ints=True, n_in=2)
elementwise("IsNaN", _np(np.isnan), ("ISNAN", 0), dtype=_bool)


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
elementwise("BitwiseAnd", _np(np.bitwise_and), ("BITAND", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseOr", _np(np.bitwise_or), ("BITOR", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseXor", _np(np.bitwise_xor), ("BITXOR", 0, 1), kinds="iu", ints=True, n_in=2)
elementwise("BitwiseNot", _np(np.bitwise_not), ("BITNOT", 0), kinds="iu", ints=True)


def _shift(node: Node, x: Any, n: Any) -> Any:
    return np.left_shift(x, n) if attr(node, "direction") == "LEFT" else np.right_shift(x, n)


elementwise(
    "BitShift",
    _shift,
    lambda node, b: ("SHL" if attr(node, "direction") == "LEFT" else "SHR", 0, 1),
    kinds="u",
    ints=True,
    wraps=False,
    n_in=2,
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


register(Op("Where", _where_infer, _where_evaluate, pass_broadcast, _where_lower, dtypes="any", runs="map"))
