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
    rather than judged; only one that no rounding explains is wrong, such as gates in another order or a lost state.

    Attributes
    ----------
    bound : float
        Of the range of an output: its largest less its smallest value over all comparisons.
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
    integers: dict[str, list[int]] = field(default_factory=dict)
    """By output: how many differ, of how many."""

    @staticmethod
    def of(model: Model) -> Loose | None:
        """For this model; None where its weights are held as the file says."""
        asked = model._options.precision
        kinds = {one.precision for one in model.layers if asked.asked(one.name) != "f32"} - {"f32"}
        return None if not kinds else Loose(*(F16_ALLOWED if kinds == {"f16"} else FEWER_BITS_ALLOWED))

    def see(self, output: str, got: NDArray[Any] | None, want: NDArray[Any] | None) -> tuple[float, str]:
        """(largest difference, what is wrong whatever the range) of one comparison more."""
        largest, excess, detail = compare(got, want)
        if got is None or want is None or got.shape != want.shape or got.dtype != want.dtype or not want.size:
            return largest, detail if excess > 1 else ""
        if want.dtype.kind != "f":
            count = self.integers.setdefault(output, [0, 0])
            count[0], count[1] = count[0] + int(np.sum(got != want)), count[1] + want.size
            return 0.0, ""
        if not np.isfinite(largest):
            return largest, "one side is not finite"
        finite = want[np.isfinite(want)]
        if finite.size:
            self.low[output] = min(self.low.get(output, np.inf), float(finite.min()))
            self.high[output] = max(self.high.get(output, -np.inf), float(finite.max()))
        return largest, ""

    def relative(self, output: str, largest: float) -> float:
        """A difference over the range of its output; of integers, the share that differs."""
        if output in self.integers:
            return self.integers[output][0] / self.integers[output][1]
        span = self.high.get(output, 0.0) - self.low.get(output, 0.0)
        return 0.0 if not largest else largest / span if span else np.inf

    def excess(self, output: str, largest: float) -> float:
        """A difference in units of what is allowed."""
        if output in self.integers:
            return self.relative(output, largest) / self.differing
        return largest / (self.bound * (self.high.get(output, 0.0) - self.low.get(output, 0.0)) + self.floor)

    def __str__(self) -> str:
        return f"{self.bound:.0%} of an output's range + {self.floor:g}; of integers {self.differing:.0%} may differ"


F16_ALLOWED = 0.02, 1e-4, 0.1
FEWER_BITS_ALLOWED = 0.15, 1e-3, 0.4
"""Bound, floor and share of a `Loose`: five times and more of what is seen on real files."""
