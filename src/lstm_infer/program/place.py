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


def number_slices(calls: Sequence[AnyCall], n_bases: int, n_slices: int) -> None:
    """Which base each slice of a loop is, and room for the table of bases that its body sees."""
    for call in calls:
        if isinstance(call, LoopCall):
            for index, piece in enumerate(call.slices):
                piece.buffer.index = n_slices + index
            call.table.n_bytes = (n_bases + n_slices + len(call.slices)) * 8
            number_slices(call.body, n_bases, n_slices + len(call.slices))
        elif isinstance(call, BranchCall):
            for part in call.lists:
                number_slices(part or (), n_bases, n_slices)


class _Lives:
    """From which to which position each arena buffer holds something. What a loop finds or leaves lives through all of
    it: the loop's last call is followed by its first."""

    def __init__(self, calls: Sequence[AnyCall]) -> None:
        self.n = 0
        self.touches: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        self.buffers: dict[int, Buffer] = {}
        self.loops: dict[int, tuple[int, int]] = {}
        self._calls(calls, ())

    def _touch(self, views: Sequence[View], path: tuple[int, ...]) -> None:
        for view in views:
            if view.buffer.kind == "arena":
                self.buffers[id(view.buffer)] = view.buffer
                self.touches.setdefault(id(view.buffer), []).append((self.n, path))

    def _calls(self, calls: Sequence[AnyCall], path: tuple[int, ...]) -> None:
        for call in calls:
            if isinstance(call, LoopCall):
                start = self.n
                self._touch(call.own, path)
                self.n += 1
                self._calls(call.body, (*path, id(call)))
                self._touch(call.own, path)
                self.loops[id(call)] = (start, self.n)
            elif isinstance(call, BranchCall):
                self._touch([call.cond], path)
                self.n += 1
                for part in call.lists:
                    self._calls(part or (), path)
            else:
                self._touch(call.writes, path)
                self._touch(call.reads, path)
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


def place(calls: Sequence[AnyCall]) -> int:
    """Offsets of all arena buffers: each lives from its first to its last call; best fit among the free gaps."""
    free: list[tuple[int, int]] = []  # (offset, n_bytes)
    top = 0
    alive: list[tuple[int, int, Buffer]] = []  # (last, order, buffer), a heap
    for order, (first, last, buffer) in enumerate(_Lives(calls).spans()):
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
