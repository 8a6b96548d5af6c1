"""Test door: any slot of any runnable instruction set, and an fmaf twin of one gate sum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def call(isa: str, slot: str, words: NDArray[np.int64], bases: Sequence[NDArray[Any] | int | None]) -> int:
    """Call one kernel once and return its li_status. Nothing but the two names is checked.

    Raises
    ------
    IsaError
        `isa` is not in this build, or this CPU cannot run it.
    KeyError
        `slot` is unknown.
    """

def fma_chain(x: NDArray[np.float32], w: NDArray[np.float32], init: float = 0.0) -> np.float32:
    """Return init + x[0] * w[0] + x[1] * w[1] + ... as one chain of fmaf in this order: libm's, not the kernels'.

    Parameters
    ----------
    x, w : float32 [K], C-contiguous
        Terms.
    init : float
        Where the chain starts, rounded to float32.

    Raises
    ------
    ValueError
        Lengths differ.
    """

def unaligned(n_bytes: int, shift: int) -> NDArray[np.uint8]:
    """Return n_bytes of zeroed memory that starts `shift` bytes behind a 64-byte boundary."""
