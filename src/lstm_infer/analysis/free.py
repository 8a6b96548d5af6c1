"""Is the graph right at other sizes of time and batch than the file's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.ir import Graph
from ..ops import carries
from ..walk.walk import Walk
from .axes import links

__all__ = ["BATCH_PROBES", "LONG_PROBES", "PROBES", "FreeSizes", "apart", "free_sizes", "works"]

PROBES = (37, 53)
"""Time extents at which a model is analysed: primes, larger than the windows of usual convolutions."""
LONG_PROBES = ((521, 769), (4099, 6151), (32771, 49157))
"""The same for windows that are longer: samples under a front end that makes frames of them."""
BATCH_PROBES = (3, 5)


@frozen
class FreeSizes:
    """The one extent of time, of the batch that the graph runs at; None: any. And extents of time that it walks at."""

    time: int | None
    batch: int | None
    probes: tuple[int, int] = PROBES


WalkAt = Callable[[int, int], Walk]
"""Walks the graph at so many steps of so many signals."""


def free_sizes(
    walk_at: WalkAt,
    time: int | None,
    batch: int | None,
    *,
    timed: bool,
    batched: bool,
    declared: bool,
    one_batch: bool,
    tried: int,
) -> FreeSizes:
    """Where the graph is not right at other sizes, the declared ones are the only ones. Where it is right at other lengths
    with the declared batch alone, that is kept rather than the length.

    Parameters
    ----------
    walk_at : callable
    time, batch : sizes that the file declares for these axes, else those that the first walk succeeded with
    timed, batched : is there such an axis
    declared : does the file declare the time size
    one_batch : does it declare the batch size
    tried : the time size of the first walk
    """
    batch_size, probes = None, PROBES
    if batched:
        tries = [(time or PROBES[0], B) for B in BATCH_PROBES]
        if not works(walk_at, tries) and not (timed and works(walk_at, [(PROBES[0], B) for B in BATCH_PROBES])):
            batch_size = 1 if batch is None else batch
    if not timed:
        return FreeSizes(None, batch_size)
    B = batch_size or BATCH_PROBES[0]
    if not declared and not works(walk_at, [(T, B) for T in PROBES]):
        probes = next((two for two in LONG_PROBES if _runs_long(walk_at, two, B)), PROBES)
    sizes = [(B, batch_size)]
    if batch_size is None and batched and one_batch and batch is not None:
        sizes.append((batch, batch))
    for B, of_one in sizes:
        if works(walk_at, [(T, B) for T in probes]) and not (declared and _cuts_short(walk_at, time or 0, B)):
            return FreeSizes(None, of_one, probes)
    return FreeSizes(time or tried, batch_size, probes)


def apart(graph: Graph) -> int:
    """A batch that divides no number in the targets of Reshapes: three rows of the model's own are not three signals."""
    makers = {value: node for node in graph.nodes for value in node.outputs if value}
    numbers: set[int] = set()
    for node in graph.nodes:
        if node.op == "Reshape" and not node.domain and len(node.inputs) > 1:
            maker = makers.get(node.inputs[1])
            parts = maker.inputs if maker is not None and maker.op == "Concat" else node.inputs[1:2]
            numbers.update(n for v in parts if v in graph.consts for n in graph.consts[v].reshape(-1).tolist() if n > 1)
    return next((B for B in BATCH_PROBES if not any(n % B == 0 for n in numbers)), BATCH_PROBES[0])


def works(walk_at: WalkAt, pairs: Sequence[tuple[int, int]]) -> bool:
    """Does the graph walk at all of these sizes."""
    try:
        for T, B in pairs:
            walk_at(T, B)
    except LstmInferError:
        return False
    return True


def _runs_long(walk_at: WalkAt, probes: tuple[int, int], B: int) -> bool:
    """Does the graph walk at these lengths, with several steps in each recurrence whose length follows them."""
    try:
        short, longer = (walk_at(T, B) for T in probes)
    except LstmInferError:
        return False
    extents = [
        [w.facts[n.inputs[i]].shape[a] for n in w.nodes if carries.carries(n) for i, a in carries.runs_over(n)]
        for w in (short, longer)
    ]
    return all(a == b or a > 3 for a, b in zip(*extents, strict=True))


def _cuts_short(walk_at: WalkAt, T0: int, B: int) -> bool:
    """Does the graph end longer sequences than the exporter's example, of T0 steps, at the same step."""
    try:
        walked, longer = (walk_at(T0 + T, B) for T in PROBES)
    except LstmInferError:
        return True
    again = {node.name: node for node in longer.nodes}
    for node in walked.nodes:
        if node.op not in ("Slice", "Gather") or node.name not in again:
            continue
        x, y = walked.facts[node.inputs[0]].shape, longer.facts[again[node.name].inputs[0]].shape
        ends = {(k.axis, k.info) for k in links(node, walked) if k.kind == "slice" or (k.kind == "pick" and k.info > 0)}
        ends &= {(k.axis, k.info) for k in links(again[node.name], longer)}
        if any(x[axis] != y[axis] for axis, _ in ends):
            return True
    return False
