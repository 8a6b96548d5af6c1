"""Which states are updated where they lie.

A recurrence that starts from a state, or an operator that replaces elements of it (ScatterND), may write the next one over
it, as long as nothing reads the old one afterwards.
That is decided by what the calls read and write, in their order: every view says which version of a state it means, and
here stands which version the memory holds. Where they differ a state is lost, and has to be copied instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .views import Buffer, View, dense_strides

__all__ = ["InPlace"]

_Piece = tuple[int, int, frozenset[int]]
"""First byte, byte behind the last, and the versions that are there: more than one where they are the same."""
_Held = dict[int, list[_Piece]]


class InPlace:
    """What the memory of some states holds while calls are made. Version 0 is what the stream carries from call to call."""

    def __init__(self, buffers: Iterable[Buffer] = ()) -> None:
        self._held: _Held = {id(buffer): [(0, buffer.n_bytes, frozenset({0}))] for buffer in buffers}
        self._newest = 0
        self.lost: set[int] = set()
        """Buffers (by id) of states that were read after they had been overwritten."""

    def may_start(self, view: View) -> bool:
        """May the next value be written over this view, as far as is known by now."""
        return id(view.buffer) in self._held and view.is_dense

    def start(self, view: View, shape: Sequence[int]) -> View:
        """The same memory for the states that follow the one it holds."""
        self.read(view)
        self._newest += 1
        new = replace(view, shape=tuple(shape), strides=dense_strides(shape), version=self._newest)
        self._set(new)
        return new

    def join(self, parts: Sequence[View], whole: View) -> View:
        """Parts that lie behind each other, as one value."""
        if id(whole.buffer) not in self._held:
            return whole
        for part in parts:
            self.read(part)
        self._newest += 1
        whole = replace(whole, version=self._newest)
        self._add(whole)
        return whole

    def settle(self, memory: View, value: View) -> None:
        """What lies in a memory is its next value, without a call."""
        if id(memory.buffer) in self._held:
            self.read(value)
            self._add(replace(value, version=memory.version))

    def reads(self, views: Iterable[View]) -> None:
        """A call reads these."""
        for view in views:
            self.read(view)

    def read(self, view: View) -> None:
        """The version that a view means has to be there."""
        if any(view.version not in versions for _, _, versions in self._under(view)):
            self.lost.add(id(view.buffer))

    def writes(self, views: Iterable[View]) -> None:
        """A call writes these."""
        for view in views:
            if id(view.buffer) not in self._held:
                continue
            if view.is_dense:
                self._set(view)
            else:  # what lies between its elements stays
                self.read(view)

    def before(self) -> _Held:
        """What is held in front of the body of a loop or a branch."""
        return {key: list(pieces) for key, pieces in self._held.items()}

    def behind(self, before: _Held) -> None:
        """Behind a body, which may run again or not at all: all that was there has to be there."""
        for key, pieces in before.items():
            for start, stop, versions in pieces:
                if any(not versions <= now for a, b, now in self._held[key] if a < stop and start < b):
                    self.lost.add(key)

    def finish(self) -> set[int]:
        """Behind all calls: the buffers of the states that have to be copied."""
        for key, pieces in self._held.items():
            if any(0 not in versions for _, _, versions in pieces):
                self.lost.add(key)
        return self.lost

    def _under(self, view: View) -> list[_Piece]:
        if not self._held or id(view.buffer) not in self._held or not view.size:
            return []
        start, stop = _span(view)
        return [piece for piece in self._held[id(view.buffer)] if piece[0] < stop and start < piece[1]]

    def _set(self, view: View) -> None:
        if view.size:
            self._change(view, lambda _: frozenset({view.version}))

    def _add(self, view: View) -> None:
        if view.size:
            self._change(view, lambda versions: versions | {view.version})

    def _change(self, view: View, new: Callable[[frozenset[int]], frozenset[int]]) -> None:
        start, stop = _span(view)
        pieces: list[_Piece] = []
        for a, b, versions in self._held[id(view.buffer)]:
            inside = max(a, start), min(b, stop)
            if inside[0] >= inside[1]:
                pieces.append((a, b, versions))
                continue
            around = (a, inside[0], versions), (inside[1], b, versions)
            pieces += [piece for piece in (around[0], (*inside, new(versions)), around[1]) if piece[0] < piece[1]]
        self._held[id(view.buffer)] = pieces


def _span(view: View) -> tuple[int, int]:
    """The bytes of its buffer between which all elements of a view lie."""
    reach = [(n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True)]
    first = view.offset + sum(r for r in reach if r < 0)
    last = view.offset + sum(r for r in reach if r > 0)
    return first * view.dtype.itemsize, (last + 1) * view.dtype.itemsize
