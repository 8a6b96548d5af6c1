"""What this machine can do, measured: multiply-adds of one core, and reading memory at a given working set."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import repeat

import numpy as np

from .. import _core
from ..program.arguments import Activation, MatMul
from ..program.views import Buffer, View, dense_strides

__all__ = ["peak", "reading"]

ROUNDS = 9
PIECE_NS = 100_000
"""What is timed at once: short beside a slice of the scheduler."""
TILES = ((96, 256, 64), (48, 512, 64), (96, 128, 128))
"""Products (rows, terms, columns) that reach the multiplier: their weights stay near, each is read for many rows."""


def peak(isa: str) -> float:
    """The most multiply-adds a nanosecond that a matrix product of ours reaches on this core. On the Zen 4 that the
    tiles were chosen on: 96 % of what its multipliers can do."""
    return max(n * k * m / _least_ns(_product(isa, n, k, m)) for n, k, m in TILES)


def reading(isa: str, n_bytes: int) -> float:
    """The most bytes a nanosecond at which so much memory is read over and over: by a search of the C library for a
    byte that is not there, or by a product of one row, whichever is faster."""
    memory = b"\2" * max(n_bytes, 64)
    k = 128 if n_bytes > 1 << 16 else 32
    m = max(n_bytes // (4 * k * _core.UNITS), 1) * _core.UNITS
    rates = [
        len(memory) / _least_ns(lambda times: _search(memory, times)),
        4 * k * m / _least_ns(_product(isa, 1, k, m)),
    ]
    return max(rates)


def _search(memory: bytes, times: int) -> None:
    find = memory.find
    for _ in repeat(None, times):
        find(b"\1")


def _product(isa: str, n: int, k: int, m: int) -> Callable[[int], None]:
    """y[n][m] = x[n][k] w[k][m], so many times in one crossing into C."""
    x, w, y = (
        View(Buffer("input", 0, index), shape, dense_strides(shape), np.dtype(np.float32))
        for index, shape in enumerate(((n, k), (k, m), (n, m)))
    )
    record = MatMul(x=x, w=w, bias=None, y=y, n=n, k=k, m=m, x_row=k, x_k=1, y_row=m, y_col=1, act=Activation())
    words = np.array(record.words(lambda view: (view.buffer.index, 0)), np.int64)
    memory = [_core.aligned_empty(4 * view.size) for view in (x, w, y)]
    for array in memory:
        array.view(np.float32)[:] = 0.01
    plans: dict[int, _core.Plan] = {}

    def run(times: int) -> None:
        if times not in plans:
            plans[times] = _core.Plan(isa, [("matmul_f32", words)] * times)
        plans[times].run(memory)

    return run


def _least_ns(run: Callable[[int], None]) -> float:
    """Nanoseconds of the thread's own time of one of many; the least of some rounds."""
    clock, times = time.thread_time_ns, 1
    while True:
        run(times)
        began = clock()
        run(times)
        took = clock() - began
        if took > PIECE_NS / 2 or times >= 1 << 12:
            break
        times *= 2
    found = []
    for _ in repeat(None, ROUNDS):
        began = clock()
        run(times)
        found.append((clock() - began) / times)
    return max(min(found), 1e-3)
