"""BatchNormalization behind a Conv, ConvTranspose or Gemm with constant weights: folded into weights and bias.

    scale (W x + b - mean) / sqrt(var + epsilon) + B  =  (f W) x + f (b - mean) + B      f = scale / sqrt(var + epsilon)

Computed in float64, rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..graph.ir import Array, Node
from .pairs import Joined

__all__ = ["batchnorm"]


def batchnorm(norm: Node, maker: Callable[[str], Node | None], consts: Mapping[str, Array]) -> Joined | None:
    """The node before a BatchNormalization with the normalisation in its weights (a rule of `pairs`)."""
    if norm.op != "BatchNormalization" or norm.domain != "" or len([n for n in norm.outputs if n]) != 1:
        return None
    first, params = maker(norm.inputs[0]), [consts.get(name) for name in norm.inputs[1:5]]
    if first is None or len(params) != 4:
        return None
    folded = _folded(first, consts, params, float(np.float32(norm.attrs.get("epsilon", 1e-5))))  # type: ignore[arg-type]
    if folded is None:
        return None
    names = [f"{norm.name}/folded_weights", f"{norm.name}/folded_bias"]
    return Joined(norm.inputs[0], [first.inputs[0], *names], dict(zip(names, folded, strict=True)))


def _folded(node: Node, consts: Mapping[str, Array], params: list[Any], epsilon: float) -> tuple[Array, Array] | None:
    """Weights and bias with the normalisation in them; None where that cannot be said."""
    w: Any = consts.get(node.inputs[1]) if len(node.inputs) > 1 else None
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias: Any = consts.get(bias_name)
    if node.domain != "" or node.op not in ("Conv", "ConvTranspose", "Gemm") or any(p is None for p in params):
        return None
    if w is None or w.dtype != np.float32 or w.ndim < 2 or (bias_name and bias is None):
        return None
    if any(p.dtype != np.float32 or p.shape != params[0].shape for p in params):
        return None
    scale, shift, mean, var = (p.astype(np.float64) for p in params)
    factor = scale / np.sqrt(var + epsilon)
    filters = len(factor)
    if bias is not None and bias.shape != (filters,):
        return None
    wide = w.astype(np.float64)
    if node.op == "Conv":
        if w.shape[0] != filters:
            return None
        new = wide * factor.reshape(-1, *([1] * (w.ndim - 1)))
    elif node.op == "ConvTranspose":
        groups = int(node.attrs.get("group", 1))  # type: ignore[arg-type]
        if w.shape[1] * groups != filters or w.shape[0] % groups:
            return None
        parts = wide.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        new = (parts * factor.reshape(groups, 1, w.shape[1], *([1] * (w.ndim - 2)))).reshape(w.shape)
    else:
        if node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0:
            return None
        axis = 0 if node.attrs.get("transB", 0) else 1
        if w.shape[axis] != filters:
            return None
        new = wide * (factor[:, None] if axis == 0 else factor)
    start = 0.0 if bias is None else bias.astype(np.float64)
    moved = (start - mean) * factor + shift
    if not (np.isfinite(new).all() and np.isfinite(moved).all()):
        return None
    return new.astype(np.float32), moved.astype(np.float32)
