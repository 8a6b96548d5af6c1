"""When two answers are the same: the tolerances of `verify` and `bench`, and the comparison that uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSOLUTE", "RELATIVE", "compare"]

ABSOLUTE, RELATIVE = 1e-5, 1e-4
"""|d| <= ABSOLUTE + RELATIVE |ref|, for every f32 model: both sides round every product differently."""
HALF = 4 * 2.0**-11
"""Relative rounding of float16 outputs: one rounding of each side, some four deep."""


def compare(got: NDArray[Any] | None, want: NDArray[Any] | None, *, bits: bool = False) -> tuple[float, float, str]:
    """(largest difference, largest difference over what is allowed, what else is wrong)."""
    if got is None or want is None:
        same = got is None and want is None
        return (0.0, 0.0, "") if same else (np.inf, np.inf, "one side has no value")
    if got.shape != want.shape or got.dtype != want.dtype:
        return np.inf, np.inf, f"{got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    if got.size == 0:
        return 0.0, 0.0, ""
    if want.dtype.kind != "f":
        wrong = int(np.sum(got != want))
        return (np.inf, np.inf, f"{wrong} of {want.size} elements differ") if wrong else (0.0, 0.0, "")
    both_nan = np.isnan(got) & np.isnan(want)
    same = both_nan | (got == want)
    a, b = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore"):
        d = np.where(same, 0.0, np.abs(a - b))
        d = np.where(np.isnan(d), np.inf, d)
        if bits:
            raw = np.dtype(f"u{want.dtype.itemsize}")
            same = both_nan | (np.ascontiguousarray(got).view(raw) == np.ascontiguousarray(want).view(raw))
            wrong = int(np.sum(~same))
            return (
                float(d.max()),
                np.inf if wrong else 0.0,
                f"{wrong} of {want.size} differ in their bits" if wrong else "",
            )
        size = np.where(np.isfinite(b), np.abs(b), 0.0)
        allowed = HALF * np.maximum(size, 0.25) if want.dtype == np.float16 else ABSOLUTE + RELATIVE * size
    return float(d.max()), float((d / allowed).max()), ""
