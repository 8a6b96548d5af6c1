"""Gelu-20 and kin of com.microsoft: Gelu, FastGelu, BiasGelu, QuickGelu.

Gelu          x / 2 * (1 + erf(x / sqrt 2)); approximate="tanh": as FastGelu
FastGelu      x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) of x + bias (bias may be absent)
BiasGelu      Gelu of x + bias
QuickGelu     x * sigmoid(alpha * x)
"""

from __future__ import annotations

from math import erf, pi, sqrt
from typing import Any

import numpy as np

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..program.builder import Builder
from .common import broadcast, pass_broadcast
from .elementwise import Formula, apply
from .registry import Op, attr, need, register, unsupported


def _has_tanh(node: Node) -> bool:
    approximate = str(attr(node, "approximate", "none"))
    if approximate not in ("none", "tanh"):
        raise OnnxImportError(f"{node}: approximate is {approximate!r}, neither none nor tanh; the file is broken")
    return node.op == "FastGelu" or approximate == "tanh"


def _alpha(node: Node) -> float:
    return float(np.float32(attr(node, "alpha", 1.702)))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if node.op == "BiasGelu":
        need(node, ins, 1)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    _has_tanh(node)
    return [Fact(broadcast(node, ins), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x = given.astype(np.float64)
    if len(ins) > 1 and ins[1] is not None:
        x = x + ins[1]
    if node.op == "QuickGelu":
        y = x / (1 + np.exp(-_alpha(node) * x))
    elif _has_tanh(node):
        y = x / 2 * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
    else:
        y = x / 2 * (1 + np.vectorize(erf, otypes=[np.float64])(x / sqrt(2)))
    return [np.asarray(y).astype(given.dtype)]


def lower(node: Node, b: Builder) -> None:
    views = [b.view(name) for name in node.inputs if name]
    x: Formula = ("ADD", 0, 1) if len(views) > 1 else 0
    half = ("MUL", 0.5, x)
    if node.op == "QuickGelu":
        made: Formula = ("MUL", x, ("SIGMOID", ("MUL", _alpha(node), x)))
    elif _has_tanh(node):
        inner = ("MUL", x, ("FMA", ("MUL", x, x), 0.044715 * sqrt(2 / pi), sqrt(2 / pi)))
        made = ("MUL", half, ("ADD", 1.0, ("TANH", inner)))
    else:
        made = ("MUL", half, ("ADD", 1.0, ("ERF", ("MUL", x, sqrt(0.5)))))
    apply(b, made, views, b.new(node.outputs[0]))


register(Op("Gelu", infer, evaluate, pass_broadcast, lower))
for _name, _inputs in (("Gelu", (1, 1)), ("FastGelu", (1, 2)), ("BiasGelu", (2, 2)), ("QuickGelu", (1, 1))):
    register(Op(_name, infer, evaluate, pass_broadcast, lower, domain="com.microsoft", inputs=_inputs))
