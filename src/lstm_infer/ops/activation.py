"""Activations that onnxruntime fuses behind other operators (FusedGemm, FusedConv, FusedMatMulActivation).

Attribute `activation` names an ONNX operator, `activation_params` (FusedConv) or `activation_alpha`, `activation_beta`,
`activation_gamma` (FusedGemm) hold its attributes. Without the attribute: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Node
from ..program.arguments import Activation
from . import recurrent
from .elementwise import Formula
from .registry import attr, unsupported

__all__ = ["formula", "meaning", "of"]

# ONNX operator -> (kernel name, default alpha, default beta)
_BUILT = {
    "": ("NONE", 0.0, 0.0), "Relu": ("RELU", 0.0, 0.0), "Sigmoid": ("SIGMOID", 0.0, 0.0), "Tanh": ("TANH", 0.0, 0.0),
    "LeakyRelu": ("LEAKY_RELU", 0.01, 0.0), "HardSigmoid": ("HARD_SIGMOID", 0.2, 0.5), "Elu": ("ELU", 1.0, 0.0),
    "Softplus": ("SOFTPLUS", 0.0, 0.0), "Softsign": ("SOFTSIGN", 0.0, 0.0),
    "ThresholdedRelu": ("THRESHOLDED_RELU", 1.0, 0.0),
}  # fmt: skip


def of(node: Node) -> Activation:
    """The activation behind a fused node; NONE for a plain one."""
    if node.domain != "com.microsoft":
        return Activation()
    name = str(attr(node, "activation", ""))
    if name not in _BUILT:
        raise unsupported(node, f"activation {name!r}")
    code, alpha, beta = _BUILT[name]
    params = [float(p) for p in attr(node, "activation_params", [])]
    params += [alpha, beta][len(params) :]
    alpha, beta = attr(node, "activation_alpha", params[0]), attr(node, "activation_beta", params[1])
    return Activation(code, float(np.float32(alpha)), float(np.float32(beta)))


def meaning(node: Node, x: Any) -> Any:
    """The activation in NumPy."""
    act = of(node)
    return x if act.name == "NONE" else recurrent.apply(act, x)


def formula(act: Activation, x: Formula) -> Formula:
    """The activation as part of an element-wise program, in the same arithmetic as the kernels' own."""
    a, b = act.alpha, act.beta
    made: dict[str, Formula] = {
        "NONE": x,
        "RELU": ("MAX", x, 0.0),
        "SIGMOID": ("SIGMOID", x),
        "TANH": ("TANH", x),
        "AFFINE": ("ADD", ("MUL", a, x), b),
        "SCALED_TANH": ("MUL", a, ("TANH", ("MUL", b, x))),
        "LEAKY_RELU": ("SELECT", ("LT", x, 0.0), ("MUL", a, x), x),
        "HARD_SIGMOID": ("MIN", ("MAX", ("ADD", ("MUL", a, x), b), 0.0), 1.0),
        "ELU": ("SELECT", ("LT", x, 0.0), ("MUL", a, ("SUB", ("EXP", x), 1.0)), x),
        "SOFTPLUS": ("SOFTPLUS", x),
        "SOFTSIGN": ("DIV", x, ("ADD", 1.0, ("ABS", x))),
        "THRESHOLDED_RELU": ("SELECT", ("LT", a, x), x, 0.0),
    }
    return made[act.name]
