"""How much work a program is: whether a call of it releases the GIL."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..program.arguments import ELEMENT
from ..program.calls import AnyCall, BranchCall, Call, LoopCall, MapCall

__all__ = ["RELEASE_FROM", "work"]

RELEASE_FROM = 300_000
"""Work of one call, all its steps together, from which on the GIL is released. About 15 us: products, softmax, tanh and
means take 8 to 25 us for so much on Zen 4, whichever cache the weights lie in."""

EACH_CALL = 500
"""What a kernel takes besides its elements: some 25 ns."""


def work(calls: Sequence[AnyCall]) -> int:
    """Work of all calls in multiply-adds, near enough to decide about the GIL. NumPy decides for the calls on the host."""
    total = EACH_CALL * len(calls)
    for call in calls:
        if isinstance(call, Call):
            total += call.args.work
        elif isinstance(call, MapCall):
            total += ELEMENT * prod(call.shape) * len(call.ops)
        elif isinstance(call, LoopCall):
            total += call.limit * work(call.body)
        elif isinstance(call, BranchCall):
            total += max(work(part or ()) for part in call.lists)
    return total
