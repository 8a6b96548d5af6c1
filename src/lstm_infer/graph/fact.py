"""What is known of a value at one set of input sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .ir import Array

__all__ = ["Fact"]


class Fact(NamedTuple):
    """What is known of a value at one set of input sizes: its shape and dtype, and its content where it is constant.

    A walk makes one for every value, and a load walks often: a tuple is made three times as fast as a dataclass.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    const: Array | None = None

    @classmethod
    def of(cls, array: Array) -> Fact:
        return cls(array.shape, array.dtype, array)
