"""Where every buffer of a list of calls lies in the arena, and which base the slices of loops are."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from ..errors import ShapeError
from .calls import AnyCall, BranchCall, LoopCall
from .memory import ALIGN
from .views import Buffer, View

__all__ = ["number_slices", "place"]

ARENA_LIMIT = 1 << 33


def number_slices(steps: Sequence[AnyCall], n_bases: int, n_slices: int) -> None:
    """Which base each slice of a loop is, and room for the table of bases that its body sees."""
    for step in steps:
        if isinstance(step, LoopCall):
            for index, piece in enumerate(step.slices):
                piece.buffer.index = n_slices + index
            step.table.n_bytes = (n_bases + n_slices + len(step.slices)) * 8
            number_slices(step.body, n_bases, n_slices + len(step.slices))
        elif isinstance(step, BranchCall):
            for part in step.lists:
                number_slices(part or (), n_bases, n_slices)


class _Lives:
    """From which to which position each arena buffer holds something. What a loop finds or leaves lives through all of
    it: the loop's last step is followed by its first."""

    def __init__(self, steps: Sequence[AnyCall]) -> None:
        self.n = 0
        self.touches: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        self.buffers: dict[int, Buffer] = {}
        self.loops: dict[int, tuple[int, int]] = {}
        self._steps(steps, ())

    def _touch(self, views: Sequence[View], path: tuple[int, ...]) -> None:
        for view in views:
            if view.buffer.kind == "arena":
                self.buffers[id(view.buffer)] = view.buffer
                self.touches.setdefault(id(view.buffer), []).append((self.n, path))

    def _steps(self, steps: Sequence[AnyCall], path: tuple[int, ...]) -> None:
        for step in steps:
            if isinstance(step, LoopCall):
                start = self.n
                self._touch(step.own, path)
                self.n += 1
                self._steps(step.body, (*path, id(step)))
                self._touch(step.own, path)
                self.loops[id(step)] = (start, self.n)
            elif isinstance(step, BranchCall):
                self._touch([step.cond], path)
                self.n += 1
                for part in step.lists:
                    self._steps(part or (), path)
            else:
                self._touch(step.writes, path)
                self._touch(step.reads, path)
            self.n += 1

    def spans(self) -> list[tuple[int, int, Buffer]]:
        """(first, last, buffer), in the order in which they are first touched."""
        out = []
        for key, touches in self.touches.items():
            common = touches[0][1]
            for _, path in touches:
                while path[: len(common)] != common:
                    common = common[:-1]
            first, last = self.n, 0
            for at, path in touches:
                start, stop = self.loops[path[len(common)]] if len(path) > len(common) else (at, at)
                first, last = min(first, start), max(last, stop)
            out.append((first, last, self.buffers[key]))
        out.sort(key=lambda span: span[0])
        return out


def place(steps: Sequence[AnyCall]) -> int:
    """Offsets of all arena buffers: each lives from its first to its last step; best fit among the free gaps."""
    free: list[tuple[int, int]] = []  # (offset, n_bytes), sorted by offset
    top = 0
    alive: list[tuple[int, int, Buffer]] = []  # (last, order, buffer), a heap
    for order, (first, last, buffer) in enumerate(_Lives(steps).spans()):
        while alive and alive[0][0] < first:
            _, _, gone = heappop(alive)
            free = _released(free, gone.offset, -(-gone.n_bytes // ALIGN) * ALIGN)
        need = -(-buffer.n_bytes // ALIGN) * ALIGN
        fits = [(size, offset) for offset, size in free if size >= need]
        if fits:
            size, offset = min(fits)
            free.remove((offset, size))
            if size > need:
                free.append((offset + need, size - need))
                free.sort()
        else:
            offset, top = top, top + need
        buffer.offset = offset
        heappush(alive, (last, order, buffer))
    if top > ARENA_LIMIT:
        raise ShapeError(f"the plan would need {top / 2**30:.1f} GiB of memory; feed smaller pieces")
    return top


def _released(free: list[tuple[int, int]], offset: int, size: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, n in sorted([*free, (offset, size)]):
        if merged and merged[-1][0] + merged[-1][1] == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + n)
        else:
            merged.append((start, n))
    return merged
