"""The operators that are built. Importing this package registers them."""

from . import cast, concat, elementwise, expand, gather, identity, matmul, pad, reduce, reshape, shape, slice, transpose

__all__ = [
    "cast",
    "concat",
    "elementwise",
    "expand",
    "gather",
    "identity",
    "matmul",
    "pad",
    "reduce",
    "reshape",
    "shape",
    "slice",
    "transpose",
]
