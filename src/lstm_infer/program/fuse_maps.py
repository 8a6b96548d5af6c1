"""Fewer, longer element-wise programs: a map whose only reader is another map over the same shape joins it.

A map whose only reader is a copy stores to the copy's destination (a part of a Concat, a state, an output).
Fusing never changes a result: every instruction rounds as it did alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import _core
from .arguments import Copy
from .calls import AnyCall, BranchCall, Call, LoopCall, MapCall, n_registers, readers_and_writers
from .fuse_products import join_products
from .views import View

__all__ = ["fuse"]

_MOST_OPS = 48
_LOGICAL = frozenset({"EQ", "LT", "LE", "NOT", "AND", "OR", "XOR", "ISNAN", "ISINF"})
"""Instructions that give 1 or 0: stored as a boolean and loaded again these are the same."""


def fuse(calls: Sequence[AnyCall]) -> list[AnyCall]:
    """The same work in fewer calls."""
    for call in calls:
        if isinstance(call, LoopCall):
            call.body = fuse(call.body)
        elif isinstance(call, BranchCall):
            call.lists = tuple(None if part is None else fuse(part) for part in call.lists)  # type: ignore[assignment]
    calls = join_products(calls)
    out: list[AnyCall | None] = list(calls)
    readers, writers = readers_and_writers(calls)
    registers = _Registers()
    for index in range(len(out)):
        consumer = out[index]
        if isinstance(consumer, Call) and isinstance(consumer.args, Copy):
            consumer = _store_at(out, index, consumer.args, readers, writers)
        if not isinstance(consumer, MapCall):
            continue
        for view in list(consumer.ins):
            made = writers.get(id(view.buffer), [])
            if view.buffer.kind != "arena" or len(made) != 1 or made[0] >= index:
                continue
            producer = out[made[0]]
            if (
                not isinstance(producer, MapCall)
                or readers.get(id(view.buffer), set()) != {index}
                or not _joins(producer, consumer, view)
                or _overlaps(producer.ins, [v for v, _ in consumer.outs])
                or _overwritten(producer, made[0], index, writers)
            ):
                continue
            if len(producer.ops) + len(consumer.ops) > _MOST_OPS:
                continue
            joined = _join(producer, consumer, view)
            if not registers.suffice(joined, producer, consumer):
                continue
            for other in producer.ins:
                readers[id(other.buffer)].discard(made[0])
                readers[id(other.buffer)].add(index)
            out[made[0]] = None
            out[index] = consumer = joined
    return [call for call in out if call is not None]


class _Registers:
    """How many registers programs need at most; counted only where a sum of parts does not tell that it is few enough."""

    def __init__(self) -> None:
        self._most: dict[int, tuple[MapCall, int]] = {}

    def most(self, call: MapCall) -> int:
        """No more than these."""
        if id(call) not in self._most:
            self._most[id(call)] = call, n_registers(call)  # the call is held: its id is the key
        return self._most[id(call)][1]

    def suffice(self, joined: MapCall, producer: MapCall, consumer: MapCall) -> bool:
        """Are there enough: first the producer runs beside what the consumer alone reads, then the consumer beside all."""
        n_in = len(joined.ins)
        most = max(n_in - len(producer.ins) + self.most(producer), n_in + self.most(consumer))
        if most > _core.MAP_REGS:
            most = n_registers(joined)
        if most > _core.MAP_REGS:
            return False
        del self._most[id(producer)], self._most[id(consumer)]
        self._most[id(joined)] = joined, most
        return True


def _joins(producer: MapCall, consumer: MapCall, view: View) -> bool:
    if producer.ints != consumer.ints or len(producer.outs) != 1 or producer.shape != consumer.shape:
        return False
    made, reg = producer.outs[0]
    last = producer.ops[reg - len(producer.ins)][0] if reg >= len(producer.ins) else ""
    whole = made.dtype == (np.int64 if producer.ints else np.float32) or (made.dtype == np.bool_ and last in _LOGICAL)
    return (whole or producer.fits) and all(
        v.strides == made.strides and v.offset == made.offset for v in consumer.ins if v.buffer is view.buffer
    )


def _store_at(
    out: list[AnyCall | None],
    index: int,
    args: Copy,
    readers: dict[int, set[int]],
    writers: dict[int, list[int]],
) -> AnyCall | None:
    """The copy at `index`, or in its place the map that makes what it copies."""
    copy, view, target = out[index], args.src, args.dst
    made = writers.get(id(view.buffer), [])
    if view.buffer.kind != "arena" or len(made) != 1 or made[0] >= index or readers[id(view.buffer)] != {index}:
        return copy
    producer = out[made[0]]
    if not isinstance(producer, MapCall) or len(producer.outs) != 1:
        return copy
    whole, reg = producer.outs[0]
    same = (whole.shape, whole.strides, whole.offset, whole.dtype)
    if (
        same != (view.shape, view.strides, view.offset, target.dtype)
        or _overlaps(producer.ins, [target])
        or _overwritten(producer, made[0], index, writers)
    ):
        return copy
    for other in producer.ins:
        readers[id(other.buffer)].discard(made[0])
        readers[id(other.buffer)].add(index)
    out[made[0]] = None
    out[index] = stored = replace(producer, outs=[(target, reg)])
    return stored


def _overlaps(ins: Sequence[View], outs: Sequence[View]) -> bool:
    """Would a map read memory that it writes at other places."""
    places = [(view.buffer, (view.strides, view.offset, view.dtype)) for view in outs]
    return any(i.buffer is o and (i.strides, i.offset, i.dtype) != place for i in ins for o, place in places)


def _overwritten(producer: MapCall, start: int, stop: int, writers: dict[int, list[int]]) -> bool:
    """Does a call between the two change what the producer reads."""
    return any(start < w < stop for view in producer.ins for w in writers.get(id(view.buffer), []))


def _join(producer: MapCall, consumer: MapCall, view: View) -> MapCall:
    ins = list(producer.ins)
    n_before = len(producer.ops)
    place: dict[int, int] = {}
    for reg, operand in enumerate(consumer.ins):
        if operand.buffer is view.buffer:
            place[reg] = -1
            continue
        if operand not in ins:
            ins.append(operand)
        place[reg] = ins.index(operand)
    shift = len(ins)
    beside = shift - len(producer.ins)

    def of_producer(reg: int) -> int:
        return reg if reg < len(producer.ins) else reg + beside

    result = of_producer(producer.outs[0][1])
    ops = [(op[0], *map(of_producer, op[1:])) for op in producer.ops] if beside else list(producer.ops)

    def of_consumer(reg: int) -> int:
        if reg < len(consumer.ins):
            return result if place[reg] < 0 else place[reg]
        return shift + n_before + reg - len(consumer.ins)

    ops += [(op[0], *(of_consumer(reg) for reg in op[1:])) for op in consumer.ops]
    outs = [(v, of_consumer(reg)) for v, reg in consumer.outs]
    return MapCall(consumer.ints, ins, ops, outs, consumer.node_name, consumer.fits)
