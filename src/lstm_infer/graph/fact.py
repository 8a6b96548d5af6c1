"""What is known of a value at one set of input sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .ir import Array

__all__ = ["Fact"]


@dataclass(frozen=True)
class Fact:
    """What is known of a value at one set of input sizes: its shape and dtype, and its content where it is constant."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    const: Array | None = None

    @classmethod
    def of(cls, array: Array) -> Fact:
        return cls(array.shape, array.dtype, array)
