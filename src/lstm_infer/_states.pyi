"""What a stream keeps, to a stretch of bytes and back: one pass over a table that a plan makes once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def checksum(data: bytes) -> int:
    """The sum over a snapshot (docs/snapshots.md): of its bytes from the 16th on.

    Raises
    ------
    ValueError
        It is shorter.
    """

def begins_with(data: bytes, header: bytes) -> bool:
    """Is this a snapshot with this header, and with a right checksum."""

class Table:
    """Where each part of a signal lies in a state block.

    Parameters
    ----------
    pieces : sequence of `memories.Piece`
        In the order of a snapshot: those of each signal first.
    n_own : int
        How many those are; the rest is nobody's own.
    batch : int
        Signals in the block.
    block_bytes : int
        Its size.

    Raises
    ------
    ValueError
        A piece reaches out of the block.
    """

    def __init__(
        self, pieces: Sequence[tuple[int, int, int, int, int, int, int, int]], n_own: int, batch: int, block_bytes: int
    ) -> None: ...
    @property
    def signal_bytes(self) -> int:
        """Of the part of one signal."""
    @property
    def shared_bytes(self) -> int:
        """Of what is nobody's own."""
    def gather(self, header: bytes, state: NDArray[np.uint8], rows: tuple[int, ...] | None) -> bytes:
        """The header, and behind it these signals of a block (None: all), with the checksum in its place.

        Raises
        ------
        ValueError
            A row lies outside the batch, or the block is too small.
        """

    def scatter(self, data: bytes, at: int, state: NDArray[np.uint8], rows: tuple[int, ...] | None) -> int:
        """Write what stands in `data` from `at` on to these signals of a block: all of it, or nothing. -1, or the piece that
        cannot hold what stands there for it.

        Raises
        ------
        ValueError
            A row lies outside the batch, the block is too small, or `data` has another size.
        """
