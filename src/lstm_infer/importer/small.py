"""Integers of less than a byte (int4, uint2) lie in arrays of whole bytes: what their type says beyond the numbers is said here.

A constant of such a type is its numbers, whatever reads them. But where the type itself is asked for, whole bytes would be
another one: QuantizeLinear saturates at its ends, and CastLike reads nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from lstm_infer.errors import UnsupportedOpError
from lstm_infer.graph.ir import Array, Node

__all__ = ["held_in", "small_type"]

_ENDS = {
    "int4": (np.int8(-8), np.int8(7)), "uint4": (np.uint8(0), np.uint8(15)),
    "int2": (np.int8(-2), np.int8(1)), "uint2": (np.uint8(0), np.uint8(3)),
}  # fmt: skip
"""Smallest and largest number, in the type of the array."""
_CODES = {int(code): name.lower() for name, code in onnx.TensorProto.DataType.items() if name.lower() in _ENDS}
_WHOLE = {np.dtype(np.int8): int(onnx.TensorProto.INT8), np.dtype(np.uint8): int(onnx.TensorProto.UINT8)}


def small_type(node: Node, type_of: Callable[[str], str]) -> str:
    """The type of less than a byte that a node makes; "" for any other.

    type_of: that of a constant, by name; "" for other values.

    Raises
    ------
    UnsupportedOpError
        Numbers would have to be cast to it.
    """
    if node.op == "CastLike" and len(node.inputs) == 2 and type_of(node.inputs[1]):
        raise UnsupportedOpError(f"{node}: casts to {type_of(node.inputs[1])}, which is not supported")
    if node.domain or node.op != "QuantizeLinear":
        return ""
    zero, code = node.inputs[2] if len(node.inputs) > 2 else "", node.attrs.get("output_dtype")
    return (type_of(zero) if zero else "") or (_CODES.get(code, "") if isinstance(code, int) else "")


def held_in(node: Node, small: str, wide: str, add: Callable[[Array, str], str]) -> Node:
    """What holds the numbers of a QuantizeLinear inside a type of less than a byte; the node itself makes bytes, called `wide`.

    Saturating twice, the second time between nearer ends, is saturating there.
    """
    ends = _ENDS[small]
    node.attrs.pop("output_dtype", None)
    if len(node.inputs) < 3 or not node.inputs[2]:
        node.attrs["output_dtype"] = _WHOLE[ends[0].dtype]
    inputs = [wide, *(add(np.asarray(end), hint) for end, hint in zip(ends, ("least", "most"), strict=True))]
    outputs, node.outputs = node.outputs, [wide]
    return Node("Clip", f"{node.name}/{small}", inputs, outputs, {}, "", 13)
