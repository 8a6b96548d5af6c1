"""The operators that are built. Importing this package registers them."""

from . import elementwise, matmul, transpose

__all__ = ["elementwise", "matmul", "transpose"]
