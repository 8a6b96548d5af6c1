"""Which positions of a step lie inside the signal: those in front of its beginning and behind its end count for nothing."""

from __future__ import annotations

import numpy as np

from .carry import Carries, entered
from .draft import Draft
from .step import Pace, Step

__all__ = ["ENDLESS", "Clock", "Span"]

ENDLESS = 1 << 40
"""Frames of a signal whose end is not known yet."""


class Span:
    """The positions of a value in one step that lie inside the signal: from `low` up to `high`, both scalars of int64."""

    def __init__(self, low: str, high: str, mask: str) -> None:
        self.low, self.high, self.mask = low, high, mask


class Clock:
    """Counts the frames of a stream, where something in it depends on how many there were."""

    def __init__(self, d: Draft, states: Carries, step: Step) -> None:
        self._d, self._states, self._step = d, states, step
        self._frames = ""
        self._first = ""
        self._end = ""
        self._spans: dict[tuple[Pace, int], Span] = {}

    def frames(self) -> str:
        """How many frames were fed before this step."""
        if not self._frames:
            carry = self._states.hidden("frames", "frames", (), np.int64, np.array(0, np.int64))
            self._frames = entered(self._d, carry)
            carry.value = self._d.same("Add", [self._frames, self._d.const(self._step.n, np.int64)])
        return self._frames

    def first(self) -> str:
        """Does the stream begin with this step: then states that are computed from what is fed begin anew."""
        if not self._first:
            carry = self._states.hidden("started", "started", (), np.bool_, np.array(False))
            self._first = self._d.same("Not", [entered(self._d, carry)])
            carry.value = self._d.const(True, np.bool_)
        return self._first

    def end(self) -> str:
        """How many frames the whole signal has."""
        if not self._end:
            carry = self._states.hidden("end", "end", (), np.int64, np.array(ENDLESS, np.int64))
            self._end = carry.value = entered(self._d, carry)
        return self._end

    def span(self, pace: Pace, n: int) -> Span:
        """Which of the n positions of a value lie inside the signal."""
        key = pace, n
        if key not in self._spans:
            d, each = self._d, self._step.each(pace, n)

            def number(value: int) -> str:
                return d.const(value, np.int64)

            def between(x: str, low: str, high: str) -> str:
                return d.same("Min", [d.same("Max", [x, low]), high])

            def times(x: str) -> str:
                return d.same("Mul", [x, number(each)]) if each != 1 else x

            start = times(d.same("Div", [self.frames(), number(pace.rate)]) if pace.rate != 1 else self.frames())
            low = between(d.same("Sub", [number(pace.lag * each), start]), number(0), number(n))
            high = number(n)
            if self._step.looks_ahead:
                length = d.same("Div", [d.same("Add", [self.end(), number(pace.more)]), number(pace.rate)])
                behind = d.same("Sub", [times(d.same("Add", [length, number(pace.lag)])), start])
                high = between(behind, low, number(n))
            places = d.const(np.arange(n), np.int64, "places")
            mask = d.same("Not", [d.same("Less", [places, low], dtype=np.bool_)])
            if self._step.looks_ahead:
                mask = d.same("And", [mask, d.same("Less", [places, high], dtype=np.bool_)])
            self._spans[key] = Span(low, high, mask)
        return self._spans[key]

    def gates(self, pace: Pace) -> bool:
        """May positions of a value lie outside the signal where its states must stand still."""
        return pace.lag > 0 or self._step.looks_ahead
