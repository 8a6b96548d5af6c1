"""An Add of a constant row behind a MatMul by a constant matrix: the row is where the sums of the product start.

That is how a Linear or Dense layer on more than two axes is written. One step less, and one rounding less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..graph.ir import Array, Node
from .pairs import Joined

__all__ = ["bias"]


def bias(add: Node, maker: Callable[[str], Node | None], consts: Mapping[str, Array]) -> Joined | None:
    """MatMul with a bias for MatMul and Add (a rule of `pairs`)."""
    if (add.op, add.domain, len(add.inputs)) != ("Add", "", 2):
        return None
    for value, row in (add.inputs, add.inputs[::-1]):
        product, constant = maker(value), consts.get(row)
        if (
            product is None
            or constant is None
            or (product.op, product.domain, len(product.inputs)) != ("MatMul", "", 2)
        ):
            continue
        weights = consts.get(product.inputs[1])
        if weights is None or weights.ndim != 2 or weights.dtype != np.float32 or constant.dtype != np.float32:
            continue
        if constant.shape in ((), (1,), weights.shape[1:]):
            return Joined(value, [*product.inputs, row])
    return None
