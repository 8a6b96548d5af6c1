"""How much work a program is: whether a call of it releases the GIL."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..program.calls import AnyCall, BranchCall, Call, LoopCall

__all__ = ["RELEASE_MACS", "work"]

RELEASE_MACS = 60_000
"""Multiply-adds of one call from which on the GIL is released: some microseconds on one core."""


def work(calls: Sequence[AnyCall]) -> int:
    """Multiply-adds of all calls, near enough to decide about the GIL."""
    total = 0
    for call in calls:
        if isinstance(call, Call):
            total += _macs(call)
        elif isinstance(call, LoopCall):
            total += call.limit * (work(call.body) + 500 * len(call.body))
        elif isinstance(call, BranchCall):
            total += max(work(part or ()) for part in call.lists)
    return total


def _macs(call: Call) -> int:
    """Multiply-adds of one call of a kernel."""
    if call.slot == "matmul_f32":
        n, k, m = (int(w) for w in call.words[4:7])  # type: ignore[arg-type]
        return n * k * m
    weights = sum(prod(v.shape) for v in call.reads if v.buffer.kind == "const")
    if call.slot in ("lstm_f32", "gru_f32", "rnn_f32"):
        return weights * int(call.words[11]) * int(call.words[12])  # type: ignore[arg-type]
    out = sum(prod(v.shape) for v in call.writes)
    return weights * max(out // max(weights, 1), 1) if call.slot == "conv_f32" else out
