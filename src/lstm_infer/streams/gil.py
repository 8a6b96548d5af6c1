"""How much work a program is: whether a call of it releases the GIL."""

from __future__ import annotations

from collections.abc import Sequence

from ..program.calls import AnyCall, BranchCall, Call, LoopCall

__all__ = ["RELEASE_MACS", "work"]

RELEASE_MACS = 60_000
"""Multiply-adds of one call from which on the GIL is released: some microseconds on one core."""


def work(calls: Sequence[AnyCall]) -> int:
    """Multiply-adds of all calls, near enough to decide about the GIL."""
    total = 0
    for call in calls:
        if isinstance(call, Call):
            total += call.args.work
        elif isinstance(call, LoopCall):
            total += call.limit * (work(call.body) + 500 * len(call.body))
        elif isinstance(call, BranchCall):
            total += max(work(part or ()) for part in call.lists)
    return total
