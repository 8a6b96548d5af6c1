"""What a call over many signals is: where the state of each lies, its ports, and the batches that it runs."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

Loop = tuple[int, int, int, bool]
"""Count, stride in a batch, stride of the signal (in bytes), and whether that counts by the steps of a call."""
Port = tuple[str, np.dtype[Any], tuple[int, ...], int, bool]
"""Name, dtype, shape of one step of one signal, time axis (-1: none), and whether it has something for every step."""

@final
class Layout:
    """Where the state of each of `n` signals lies in a state block of `state_bytes`.

    Parameters
    ----------
    parts : sequence of (near, between, far, loops, run)
        In bytes: where in the block the first signal has it, from signal to signal, where in a row; at most three loops of
        (count, stride in the block, stride in the row, False), the outermost first, and the stretch inside them.

    Raises
    ------
    ValueError
        A part reaches out of the block or the row.
    """

    def __init__(
        self,
        parts: Sequence[tuple[int, int, int, Sequence[Loop], int]],
        *,
        n: int,
        state_bytes: int,
        row_bytes: int,
    ) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...

@final
class Rig:
    """What a call of a pool takes and gives, and the batches that it runs. Holds no state; shared.

    Parameters
    ----------
    inputs, outputs : sequence of Port
        Of one signal.
    lanes : sequence of (Layout, base 0, first state or None, bytes of the arena, blocks)
        Descending in signals down to 1. First state: where a block holds more than its signals. Blocks: (steps, Plan, work, for
        each port (from signal to signal, loops, run, from step to step of a call, bytes of a block)), descending to 1 step.
    leading : bool
        The steps of a chunk stand along an axis of their own.
    most : int
        Signals of a call: for more it is not the rig.
    release_from : int
        Work of a call from which on the GIL is released.
    nodes : sequence of sequences of str
        For messages.
    can_fail : bool
        May a plan refuse what it finds in its data.

    Raises
    ------
    ValueError
        The numbers do not fit each other.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        lanes: Sequence[tuple[Any, ...]],
        leading: bool,
        most: int,
        release_from: int,
        nodes: Sequence[Sequence[str]],
        can_fail: bool,
    ) -> None: ...
    @property
    def most(self) -> int: ...
