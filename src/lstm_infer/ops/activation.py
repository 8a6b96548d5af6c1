"""Activations, one row each: the ONNX name, the kernels' code, the NumPy meaning, the formula, the coefficients.

A row serves the operator of that name (activate.py), the `activations` of recurrent operators, and those that
onnxruntime fuses behind another one (FusedGemm, FusedConv, FusedMatMulActivation): there attribute `activation` names
an ONNX operator, `activation_params` (FusedConv) or `activation_alpha`, `activation_beta`, `activation_gamma`
(FusedGemm) hold its attributes. Without the attribute: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..frozen import frozen
from ..graph.ir import Array, Node
from ..program.arguments import Activation
from .formula import Formula
from .registry import attr, unsupported

__all__ = ["KINDS", "Kind", "apply", "by_name", "formula", "is_activation", "meaning", "of"]


@frozen
class Kind:
    """One activation."""

    name: str
    """As ONNX writes it; recurrent operators in any case."""
    code: str
    """li_act_code without its prefix."""
    meaning: Callable[[Any, float, float], Any]
    """(x, alpha, beta) in NumPy."""
    formula: Callable[[Formula, float, float], Formula]
    """The same in the arithmetic of the kernels' own."""
    alpha: float | None = None
    """Default; None: it takes none."""
    beta: float | None = None
    unsettled: tuple[str, ...] = ()
    """Coefficients whose default in a recurrent operator text and onnxruntime disagree about (docs/lstm.md)."""
    operator: bool = True
    """Is it an operator of its own too."""

    def coefficients(self, node: Node) -> tuple[float, ...]:
        """Those it takes, from the attributes of the operator of its name."""
        defaults = (("alpha", self.alpha), ("beta", self.beta))
        return tuple(float(attr(node, name, default)) for name, default in defaults if default is not None)

    def made(self, alpha: float | None = None, beta: float | None = None) -> Activation:
        """With these coefficients, or the defaults."""
        a, b = self.alpha if alpha is None else alpha, self.beta if beta is None else beta
        return Activation(self.code, float(np.float32(a or 0.0)), float(np.float32(b or 0.0)))


def _sigmoid(x: Any, a: float = 0.0, b: float = 0.0) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


def _softplus(x: Any, a: float = 0.0, b: float = 0.0) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _unit(part: Formula) -> Formula:
    return ("MIN", ("MAX", part, 0.0), 1.0)


def _exp_minus_1(part: Formula) -> Formula:
    return ("SUB", ("EXP", part), 1.0)


KINDS = (
    Kind("Sigmoid", "SIGMOID", _sigmoid, lambda x, a, b: ("SIGMOID", x)),
    Kind("Tanh", "TANH", lambda x, a, b: np.tanh(x), lambda x, a, b: ("TANH", x)),
    Kind("Relu", "RELU", lambda x, a, b: np.maximum(x, 0), lambda x, a, b: ("MAX", x, 0.0)),
    Kind("Softplus", "SOFTPLUS", _softplus, lambda x, a, b: ("SOFTPLUS", x)),
    Kind("Softsign", "SOFTSIGN", lambda x, a, b: x / (1 + np.abs(x)), lambda x, a, b: ("DIV", x, ("ADD", 1.0, ("ABS", x)))),
    Kind(
        "LeakyRelu", "LEAKY_RELU", lambda x, a, b: np.where(x < 0, a * x, x),
        lambda x, a, b: ("SELECT", ("LT", x, 0.0), ("MUL", a, x), x), alpha=0.01,
    ),
    Kind(
        "Elu", "ELU", lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
        lambda x, a, b: ("SELECT", ("LT", x, 0.0), ("MUL", a, _exp_minus_1(x)), x), alpha=1.0,
    ),
    Kind(
        "ThresholdedRelu", "THRESHOLDED_RELU", lambda x, a, b: np.where(x > a, x, np.zeros_like(x)),
        lambda x, a, b: ("SELECT", ("LT", a, x), x, 0.0), alpha=1.0, unsettled=("alpha",),
    ),
    Kind(
        "HardSigmoid", "HARD_SIGMOID", lambda x, a, b: np.clip(a * x + b, 0, 1),
        lambda x, a, b: _unit(("ADD", ("MUL", a, x), b)), alpha=0.2, beta=0.5,
    ),
    Kind(
        "Affine", "AFFINE", lambda x, a, b: a * x + b, lambda x, a, b: ("ADD", ("MUL", a, x), b),
        alpha=1.0, beta=0.0, unsettled=("alpha",), operator=False,
    ),
    Kind(
        "ScaledTanh", "SCALED_TANH", lambda x, a, b: a * np.tanh(b * x), lambda x, a, b: ("MUL", a, ("TANH", ("MUL", b, x))),
        alpha=1.0, beta=1.0, unsettled=("alpha", "beta"), operator=False,
    ),
)  # fmt: skip

_BY_NAME = {kind.name.lower(): kind for kind in KINDS}
_BY_CODE = {kind.code: kind for kind in KINDS}
_OPERATORS = {kind.name: kind for kind in KINDS if kind.operator}


def by_name(name: str) -> Kind | None:
    """The activation of a name, in any case."""
    return _BY_NAME.get(name.lower())


def is_activation(node: Node) -> bool:
    """Is a node one of the activations that recurrent operators take."""
    return node.domain == "" and node.op in _OPERATORS


def apply(act: Activation, x: Array) -> Array:
    """An activation in NumPy."""
    return np.asarray(_BY_CODE[act.name].meaning(x, act.alpha, act.beta))


def formula(act: Activation, x: Formula) -> Formula:
    """An activation as part of an element-wise program."""
    return x if act.name == "NONE" else _BY_CODE[act.name].formula(x, act.alpha, act.beta)


# ---- fused behind an operator -----------------------------------------------------------------------------------


def of(node: Node) -> Activation:
    """The activation behind a fused node; NONE for a plain one."""
    name = str(attr(node, "activation", "")) if node.domain == "com.microsoft" else ""
    if not name:
        return Activation()
    if name not in _OPERATORS:
        raise unsupported(node, f"activation {name!r}")
    params = [*attr(node, "activation_params", []), None, None]
    alpha, beta = params[:2]
    return _OPERATORS[name].made(attr(node, "activation_alpha", alpha), attr(node, "activation_beta", beta))


def meaning(node: Node, x: Any) -> Any:
    """The activation behind a fused node in NumPy."""
    act = of(node)
    return x if act.name == "NONE" else apply(act, x)
