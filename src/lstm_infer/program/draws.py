"""Where random numbers come from: a key for each signal of a node, and how many steps it has drawn.

A number is told by its key (seed, node, signal), the step of its signal and its place in the step (the slot `random`). Key
and count of each signal are a state like any other; the part of the key that is the node's own is in the program. The records
of the slots `random` and `choose` are here too.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..frozen import frozen
from ..graph.ir import Node
from .arguments import ELEMENT, Record
from .views import View

__all__ = ["DRAWN", "Axis", "Choose", "Draws", "Factor", "Random", "Seeded", "Seeds", "node_key", "own_seed"]

DRAWN = "draws"
"""What the state of a random node is called in it."""

_STEP = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


Factor = tuple[str, int]
"""What a part of an axis is ("step", "signal", or "" for anything else), and its extent where others share the axis."""
Axis = tuple[Factor, ...]
"""An axis as a product; empty where it is neither steps nor signals."""


@frozen
class Draws:
    """Where the steps and the signals stand in what a random node draws. What has no axis with signals is drawn as that of
    signal 0, for all."""

    axes: tuple[Axis, ...]
    own: int | None = None
    """The seed that the node has itself."""
    each_call: bool = False
    """Is every call a step of its own; else what has no axis with steps is drawn once for a whole signal."""

    def has(self, kind: str) -> bool:
        """Is there an axis with steps, or with signals."""
        return any(kind == found for axis in self.axes for found, _ in axis)


@frozen
class Seeded:
    """The state of a random node, int64 [signals, 2] of key and count, and the seed that the node has itself."""

    view: View
    own: int | None


@frozen
class Random(Record):
    """li_random_args: y[t][b][i] drawn by key, signal, step and place; the counters of the signals go on."""

    y: View
    state: View
    key: int
    n_steps: int
    n_signals: int
    n: int
    advance: int

    READ = ("state",)
    WRITTEN = ("y", "state")

    @property
    def work(self) -> int:
        return 4 * ELEMENT * self.n_steps * self.n_signals * self.n


@frozen
class Choose(Record):
    """li_choose_args: where the sums over p pass the drawn part of the whole sum."""

    p: View
    u: View
    y: View
    dtype: int
    rows: int
    n: int
    samples: int

    READ = ("p", "u")
    WRITTEN = ("y",)

    @property
    def work(self) -> int:
        return ELEMENT * self.rows * self.n * (1 + self.samples)


def own_seed(node: Node) -> int | None:
    """The attribute `seed` of a random node, in 64 bits."""
    seed = node.attrs.get("seed")
    return None if seed is None else _bits(b"node", struct.pack("<f", float(seed)))  # type: ignore[arg-type]


def node_key(node: Node) -> int:
    """The part of the keys of a node that tells it from others, as an int64."""
    return _signed(_bits(b"name", node.name.encode()))


def _bits(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"\0".join(parts)).digest()[:8], "little")


def _signed(n: int) -> int:
    return n - (1 << 64) if n >> 63 else n


class Seeds:
    """The seeds of a model: the one it was loaded with, that of a node, or one for each run and stream."""

    def __init__(self, given: int | None) -> None:
        self._given = None if given is None else _bits(b"load", repr(int(given)).encode())
        self._system = int.from_bytes(os.urandom(8), "little")
        self._runs = itertools.count()

    def settled(self, states: Sequence[Seeded]) -> bool:
        """Do all draw the same numbers in every run."""
        return self._given is not None or all(state.own is not None for state in states)

    def plant(self, block: NDArray[np.uint8], states: Sequence[Seeded]) -> None:
        """Write the first keys and counts of a run or a stream into its states."""
        if not states:
            return
        fresh = _mixed(self._system + next(self._runs) * _STEP)
        for state in states:
            seed = self._given if self._given is not None else fresh if state.own is None else state.own
            start, rows = state.view.buffer.offset + state.view.byte_offset, state.view.shape[0]
            memory = block[start : start + 16 * rows].view(np.uint64)
            memory[::2], memory[1::2] = _row_keys(seed, rows) if rows > 1 else _mixed(seed), 0


def _mixed(n: int) -> int:
    """One number of SplitMix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014)."""
    n &= _MASK
    n = (n ^ (n >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    n = (n ^ (n >> 27)) * 0x94D049BB133111EB & _MASK
    return n ^ (n >> 31)


def _row_keys(seed: int, rows: int) -> NDArray[np.uint64]:
    """_mixed(seed + row * _STEP) of every row."""
    n = np.uint64(seed) + np.arange(rows, dtype=np.uint64) * np.uint64(_STEP)
    n = (n ^ (n >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    n = (n ^ (n >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return n ^ (n >> np.uint64(31))
