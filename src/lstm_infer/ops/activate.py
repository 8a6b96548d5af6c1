"""Operators that are an activation: those of activation.py's table, and others that no kernel has built in.

Source: the ONNX operator pages of the same names, newest version.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Node
from ..program.builder import Builder
from .activation import KINDS, Kind, by_name
from .elementwise import NUMBERS, elementwise, plain
from .formula import Formula
from .registry import attr


def _f(node: Node, name: str, default: float | None) -> float:
    return float(attr(node, name, default))


def _register(kind: Kind) -> None:
    def coefficients(node: Node) -> tuple[float, float]:
        alpha, beta, *_ = *kind.coefficients(node), 0.0, 0.0
        return alpha, beta

    def meaning(node: Node, x: Any) -> Any:
        return kind.meaning(x, *coefficients(node))

    def formula(node: Node, b: Builder) -> Formula:
        return kind.formula(0, *coefficients(node))

    whole = kind.name == "Relu"
    elementwise(kind.name, meaning, formula, kinds="fi" if whole else "f", ints=whole)


for _kind in KINDS:
    if _kind.operator:
        _register(_kind)


# ---- without a kernel of their own ------------------------------------------------------------------------------

_ELU, _SIGMOID, _SOFTPLUS, _HARD = (
    kind for name in ("Elu", "Sigmoid", "Softplus", "HardSigmoid") if (kind := by_name(name))
)


def _selu(node: Node, x: Any) -> Any:
    alpha, gamma = _f(node, "alpha", 1.6732632), _f(node, "gamma", 1.0507010)
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu_formula(node: Node, b: Builder) -> Formula:
    return ("MUL", _f(node, "gamma", 1.0507010), _ELU.formula(0, _f(node, "alpha", 1.6732632), 0.0))


def _celu(node: Node, x: Any) -> Any:
    alpha = _f(node, "alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


def _celu_formula(node: Node, b: Builder) -> Formula:
    alpha = _f(node, "alpha", 1.0)
    return ("ADD", ("MAX", 0, 0.0), ("MIN", 0.0, ("MUL", alpha, ("SUB", ("EXP", ("DIV", 0, alpha)), 1.0))))


def _swish(node: Node, x: Any) -> Any:
    return x * _SIGMOID.meaning(_f(node, "alpha", 1.0) * x, 0.0, 0.0)


def _swish_formula(node: Node, b: Builder) -> Formula:
    return ("MUL", 0, ("SIGMOID", ("MUL", _f(node, "alpha", 1.0), 0)))


def _shrink(node: Node, x: Any) -> Any:
    lambd, bias = _f(node, "lambd", 0.5), _f(node, "bias", 0.0)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.zeros_like(x)))


def _shrink_formula(node: Node, b: Builder) -> Formula:
    lambd, bias = _f(node, "lambd", 0.5), _f(node, "bias", 0.0)
    beyond: Formula = ("SELECT", ("LT", lambd, 0), ("SUB", 0, bias), 0.0)
    return ("SELECT", ("LT", 0, -lambd), ("ADD", 0, bias), beyond)


elementwise(
    "PRelu",
    plain(lambda x, slope: np.where(x < 0, slope * x, x)),
    ("SELECT", ("LT", 0, 0.0), ("MUL", 1, 0), 0),
    kinds=NUMBERS,
    ints=True,
    n_in=2,
)
elementwise("Selu", _selu, _selu_formula)
elementwise("Celu", _celu, _celu_formula)
elementwise("HardSwish", plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)), ("MUL", 0, _HARD.formula(0, 1 / 6, 0.5)))
elementwise("Swish", _swish, _swish_formula)
elementwise("Mish", plain(lambda x: x * np.tanh(_SOFTPLUS.meaning(x, 0.0, 0.0))), ("MUL", 0, ("TANH", ("SOFTPLUS", 0))))
elementwise("Shrink", _shrink, _shrink_formula)
