"""What a call of a kernel has to do: multiply-adds, and bytes that it reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from ..frozen import frozen
from ..program.arguments import Conv, Gather, GatherND, MatMul, MatMulDyn, Recur
from ..program.calls import AnyCall, BranchCall, Call, LoopCall, MapCall
from ..program.views import View

__all__ = ["Cost", "cost_of", "weight_bytes"]

PRODUCTS = (MatMul, MatMulDyn, Recur, Conv)
PICKING = (Gather, GatherND)
"""These read of a table what they pick, not all of it."""


@frozen
class Cost:
    """Of one call. macs: multiply-adds of matrix products, padding of panels included. elements: element-wise
    instructions, or elements written where there are none. Bytes are counted once, however often they are read."""

    macs: int = 0
    elements: int = 0
    weight_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    @property
    def moved_bytes(self) -> int:
        """Read and written, weights too."""
        return self.weight_bytes + self.read_bytes + self.written_bytes

    def __add__(self, other: Cost) -> Cost:
        return self.times(1, other)

    def times(self, n: int, other: Cost) -> Cost:
        """This, and n of another: its bytes count once."""
        return Cost(
            self.macs + n * other.macs,
            self.elements + n * other.elements,
            self.weight_bytes + other.weight_bytes,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )


def cost_of(call: AnyCall) -> Cost:
    """Of a loop: of as many iterations as its limit allows; of a branch: of its longer side."""
    if isinstance(call, LoopCall):
        return Cost().times(max(call.limit, 0), sum(map(cost_of, call.body), Cost()))
    if isinstance(call, BranchCall):
        return max((sum(map(cost_of, part or ()), Cost()) for part in call.lists), key=lambda cost: cost.macs)
    weights = weight_bytes([call])
    read = _bytes(view for view in call.reads if view.buffer.kind != "const")
    written = _bytes(call.writes if not isinstance(call, Call) else _stored(call))
    macs = elements = 0
    if isinstance(call, Call) and isinstance(call.args, PRODUCTS):
        macs = call.args.macs
    elif isinstance(call, MapCall):
        elements = prod(call.shape) * len(call.ops)
    else:
        elements = sum(view.size for view in call.writes)
    return Cost(macs, elements, weights, read, written)


def weight_bytes(calls: Sequence[AnyCall]) -> int:
    """Bytes of constants that these read, each memory once."""
    found: dict[int, int] = {}
    for call in calls:
        for view, n in _constants(call):
            found[id(view.buffer)] = min(found.get(id(view.buffer), 0) + n, view.buffer.n_bytes)
    return sum(found.values())


def _constants(call: AnyCall) -> Iterable[tuple[View, int]]:
    if isinstance(call, LoopCall):
        for inner in call.body:
            yield from _constants(inner)
    elif isinstance(call, BranchCall):
        for part in call.lists:
            for inner in part or ():
                yield from _constants(inner)
    else:
        picks = isinstance(call, Call) and isinstance(call.args, PICKING)
        most = sum(view.size * view.dtype.itemsize for view in call.writes) if picks else None
        for view in call.reads:
            if view.buffer.kind == "const":
                n = view.size * view.dtype.itemsize
                yield view, n if most is None else min(n, most)


def _stored(call: Call) -> list[View]:
    """What is written, working memory left out."""
    scratch = getattr(call.args, "scratch", None)
    return [view for view in call.writes if view is not scratch]


def _bytes(views: Iterable[View]) -> int:
    found: dict[int, int] = {}
    for view in views:
        n = found.get(id(view.buffer), 0) + view.size * view.dtype.itemsize
        found[id(view.buffer)] = min(n, view.buffer.n_bytes)
    return sum(found.values())
