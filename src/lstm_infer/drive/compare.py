"""When two answers are the same: the tolerances of `verify` and `bench`, and the comparison that uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Model

__all__ = ["ABSOLUTE", "RELATIVE", "Loose", "compare"]

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


@dataclass
class Loose:
    """Answers of a model whose weights were rounded, beside answers of the weights as they are. Then the difference is told
    rather than judged; only one that no rounding explains is wrong, such as gates in another order or a lost state. The mean
    is what tells them apart: where a model sits on an edge, a rounding can throw single values far.

    Attributes
    ----------
    bound : float
        Of the mean difference over the range of an output: its largest less its smallest value over all comparisons.
    floor : float
        Allowed besides, for outputs that hardly move.
    differing : float
        Share of integers that may differ.
    """

    bound: float
    floor: float
    differing: float
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    sums: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """By case and output: the sum of the differences (of integers how many differ), and of how many."""
    integers: set[str] = field(default_factory=set)

    @staticmethod
    def of(model: Model) -> Loose | None:
        """For this model; None where its weights are held as the file says."""
        asked = model._options.precision
        kinds = {one.precision for one in model.layers if asked.asked(one.name) != "f32"} - {"f32"}
        return None if not kinds else Loose(*(F16_ALLOWED if kinds == {"f16"} else FEWER_BITS_ALLOWED))

    def see(self, case: str, output: str, got: NDArray[Any] | None, want: NDArray[Any] | None) -> tuple[float, str]:
        """(largest difference, what is wrong whatever the range) of one comparison more."""
        largest, excess, detail = compare(got, want)
        if got is None or want is None or got.shape != want.shape or got.dtype != want.dtype or not want.size:
            return largest, detail if excess > 1 else ""
        total, n = self.sums.get((case, output), (0.0, 0))
        if want.dtype.kind != "f":
            self.integers.add(output)
            self.sums[case, output] = total + float(np.sum(got != want)), n + want.size
            return 0.0, ""
        if not np.isfinite(largest):
            return largest, "one side is not finite"
        with np.errstate(invalid="ignore"):
            d = np.abs(got.astype(np.float64) - want)
        finite = want[np.isfinite(want)]
        self.sums[case, output] = total + float(np.sum(d[np.isfinite(d)])), n + want.size
        if finite.size:
            self.low[output] = min(self.low.get(output, np.inf), float(finite.min()))
            self.high[output] = max(self.high.get(output, -np.inf), float(finite.max()))
        return largest, ""

    def relative(self, case: str, output: str) -> float:
        """The mean difference over the range of its output; of integers, the share that differs."""
        total, n = self.sums.get((case, output), (0.0, 1))
        span = 1.0 if output in self.integers else self.high.get(output, 0.0) - self.low.get(output, 0.0)
        return 0.0 if not total else total / n / span if span else np.inf

    def excess(self, case: str, output: str) -> float:
        """A mean difference in units of what is allowed."""
        if output in self.integers:
            return self.relative(case, output) / self.differing
        total, n = self.sums.get((case, output), (0.0, 1))
        span = self.high.get(output, 0.0) - self.low.get(output, 0.0)
        return total / n / (self.bound * span + self.floor)

    def __str__(self) -> str:
        return f"in the mean {self.bound:.1%} of an output's range + {self.floor:g}; of integers {self.differing:.0%} may differ"


F16_ALLOWED = 0.005, 1e-4, 0.1
FEWER_BITS_ALLOWED = 0.018, 2e-4, 0.4
"""Bound, floor and share of a `Loose`."""
