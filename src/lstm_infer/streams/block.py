"""One program of a stream: for so many steps, from one phase."""

from __future__ import annotations

from ..frozen import frozen
from ..program.program import Program

__all__ = ["Block", "Phase"]

Phase = tuple[int, ...]
"""How many steps each history and queue holds, in the order of `StreamPlan.fills`; () where that never changes."""


@frozen
class Block:
    """The program for `n` steps that start in one phase; `present`: the outputs that exist behind them; `work`: as
    `gil.work` counts it."""

    n: int
    program: Program
    work: int
    next_phase: Phase
    present: tuple[str, ...]
