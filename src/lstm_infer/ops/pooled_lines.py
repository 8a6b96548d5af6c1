"""Windows of pools by the slot pool_f32: line by line, from the data as it lies, padding included."""

from __future__ import annotations

from .. import _core
from ..program.arguments import filled
from ..program.builder import Builder
from ..program.reductions import Pool
from ..program.views import View
from .window import Slide

__all__ = ["MOST_IN_LINES", "pooled_lines"]

MOST_IN_LINES = 24
"""Longer windows are reductions, whose sums go by another order."""
_FEWEST_OUT = 8
"""Fewer outputs of a line are not worth its vectors."""


def pooled_lines(b: Builder, x: View, s: Slide, y: View, code: str) -> bool:
    """The largest (code MAX) or the sum (ADD, padding counts 0) of each window of x [N, C, length] or [N, C, rows, cols]
    into y; False, and nothing done, where the slot does not take these."""
    n = len(s.size)
    if n > 2 or max(s.kernel) > MOST_IN_LINES or s.out[-1] < _FEWEST_OUT or 0 in (*x.shape, *y.shape):
        return False
    if x.strides[-1] != 1 or y.strides[-1] != 1 or not x.dtype == y.dtype == "float32":
        return False
    one = (1,) * (2 - n)  # a length is one row
    rows, cols = (*one, *s.size)
    y_rows, y_cols = (*one, *s.out)
    scratch = b.scratch(_core.pool_scratch(y_cols, s.kernel[-1], s.stride[-1], s.dilation[-1]))
    args = Pool(
        x=x, y=y, scratch=scratch, code=_core.reduce_codes["MAX" if code == "MAX" else "SUM"],
        n=x.shape[:2], rows=rows, cols=cols, y_rows=y_rows, y_cols=y_cols, kernel=(*one, *s.kernel),
        stride=(*one, *s.stride), dilation=(*one, *s.dilation), pad=(*(0 for _ in one), *s.begin),
        x_stride=filled(x.strides[:-1], 3), y_stride=filled(y.strides[:-1], 3),
    )  # fmt: skip
    b.emit("pool_f32", args)
    return True
