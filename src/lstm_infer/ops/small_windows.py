"""Small windows in one program: what pools of a few elements take together, from the data as it lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from ..frozen import frozen
from ..program.builder import Builder
from ..program.views import View
from .formula import Formula, apply
from .window import Slide

__all__ = ["MOST_AT_ONCE", "Span", "at_once", "largest"]

MOST_AT_ONCE = 9
"""Elements of a window that one program takes together."""
_MOST_SPANS = 16
"""Parts of an output that are computed one by one, for the padding which their windows see."""


@frozen
class Span:
    """Neighbouring outputs of one axis, `count` from `first`, that see the kernel's positions tap .. stop - 1; the first of
    them sees the first of these at position `at` of the data."""

    first: int
    count: int
    tap: int
    stop: int
    at: int


def _spans(s: Slide, a: int) -> list[Span]:
    """The outputs of an axis, parted by what of their windows lies on the data; empty where that is too many parts."""
    n, size, d, reach = s.out[a], s.size[a], s.dilation[a], s.reach(a)
    inside = min(-(-s.begin[a] // s.stride[a]), n)  # the first one that begins on the data
    behind = max(min((size - reach + s.begin[a]) // s.stride[a] + 1, n), inside)
    if inside + n - behind > _MOST_SPANS:
        return []
    spans = []
    edges = [*range(inside), *range(behind, n)]
    for first, count in [(inside, behind - inside), *((o, 1) for o in edges)]:
        start = first * s.stride[a] - s.begin[a]
        tap, stop = max(-(start // d), 0), min(-((start - size) // d), s.kernel[a])
        spans.append(Span(first, count, tap, stop, start + tap * d))
    return [span for span in spans if span.count]


def largest(b: Builder, x: View, s: Slide, y: View) -> bool:
    """The largest of each window from the data as it lies; False where there is too much of an edge for that."""
    spans = [_spans(s, a) for a in range(len(s.size))]
    if prod(s.kernel) > MOST_AT_ONCE or not 0 < prod(map(len, spans)) <= _MOST_SPANS:
        return False
    if any(span.stop <= span.tap for axis in spans for span in axis):  # padding alone
        return False
    for part in product(*spans):
        out = y
        for a, span in enumerate(part):
            out = out.part(2 + a, span.first, span.count)
        at_once(b, x, part, s, out, "MAX")
    return True


def at_once(b: Builder, x: View, spans: Sequence[Span], s: Slide, out: View, code: str) -> None:
    """Windows of all axes in one program: along the first axis first, as `along` would."""
    ins: list[View] = []

    def taken(a: int, view: View) -> Formula:
        if a < 0:
            ins.append(view)
            return len(ins) - 1
        span, made = spans[a], None
        for k in range(span.stop - span.tap):
            one = taken(a - 1, view.part(2 + a, span.at + k * s.dilation[a], span.count, s.stride[a]))
            made = one if made is None else (code, made, one)
        assert made is not None
        return made

    made = taken(len(spans) - 1, x)
    apply(b, made, ins, out)
