"""Does a node do the same at every length of the sequence: told by comparing walks at several lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..ops import recurrent, registry
from ..ops.common import pass_broadcast
from ..ops.control import Repeat
from ..ops.registry import attr
from ..walk.walk import Walk, walk
from .axes import links
from .ground import Ground
from .refusal import refusal
from .roles import Roles

__all__ = [
    "alike",
    "at_end",
    "check_branches",
    "check_constants",
    "check_grows",
    "check_trips",
    "cropped",
    "passes",
    "sized",
    "strided",
    "told_part",
    "where_fixed",
]


def where_fixed(roles: Roles) -> tuple[str, Node | None]:
    """What holds a file at its one length, as the end of a sentence, and the node where a walk at another length stops."""
    told = [why for place, (_, why) in roles.graph.fixed.items() if place in roles.time.items()]
    if told:
        return f": {told[0]}", None
    size, B = roles.analysis_sizes()
    for n in (size + 1, 2 * size):
        met: list[Node] = []

        def meet(node: Node, ins: list[Fact | None], met: list[Node] = met) -> None:
            met.append(node)

        try:
            walk(roles.graph, roles.feeds(n, B), on_node=meet)
        except LstmInferError as error:
            return f" and does not fit {n}: {error}", met[-1] if met else None
    return " and cannot be walked at others", None


def check_branches(ground: Ground) -> None:
    """An If must not take another branch at another length."""
    for node in ground.graph.walk():
        if node.op != "If" or node.domain or not node.inputs:
            continue
        found = [walked.facts.get(node.inputs[0]) for walked in (ground.walked, *ground.others)]
        known = [bool(f.const.reshape(-1)[0]) for f in found if f is not None and f.const is not None and f.const.size]
        if len(set(known)) > 1:
            raise refusal(node, "takes another branch for another length of the sequence")


def check_trips(ground: Ground, node: Node) -> None:
    """A loop that does not run over the sequence must not run as often as it is long."""
    other = ground.others[0] if ground.others else None
    again = next((n for n in other.nodes if n.name == node.name), None) if other else None
    if isinstance(node, Repeat) and isinstance(again, Repeat) and again.trips != node.trips:
        raise refusal(node, "runs as often as the sequence is long, but not along it")


def check_grows(ground: Ground, node: Node) -> None:
    """A value that holds no time axis must not grow with the sequence."""
    other = ground.others[0] if ground.others else None
    for value in node.outputs:
        if other and value and value in other.facts and other.facts[value].shape != ground.walked.facts[value].shape:
            raise refusal(node, "repeats a value from the end of the sequence over the whole sequence")


def takes_all(ground: Ground, node: Node) -> bool:
    """Are the sequence_lens of a recurrence the number of its steps, however many there are: as if there were none."""
    if not recurrent.is_recurrent(node) or len(node.inputs) < 5 or not node.inputs[4] or not ground.others:
        return False
    x, lens = node.inputs[0], node.inputs[4]
    axis = recurrent.axes(node)[0]
    for walked in (ground.walked, *ground.others):
        const = walked.facts[lens].const if lens in walked.facts else None
        if const is None or x not in walked.facts or not np.all(const == walked.facts[x].shape[axis]):
            return False
    return True


def check_constants(ground: Ground, node: Node, timed: Sequence[int], *, steady: bool = False) -> None:
    """A constant must not know the position in the sequence or its length. `steady`: of each step that is fed the node has
    one, so that lengths that take all of them take those of a chunk too."""
    sizes = registry.find(node).sizes
    if steady and takes_all(ground, node):
        sizes = (*sizes, 4)
    for i, value in enumerate(node.inputs):
        if not value or i in sizes or i in timed or _positions(ground, node, i):
            continue
        const = ground.walked.facts[value].const
        if const is None:
            continue
        for walked in ground.others:
            if value not in walked.facts:
                continue
            again = walked.facts[value].const
            if again is None or (again.shape == const.shape and not _equal(again, const)):
                raise refusal(node, f"depends on the length of the sequence ({value!r})")
            if again.shape != const.shape and not _uniform(const, again):
                raise refusal(node, f"depends on the position in the sequence ({value!r})")


def _positions(ground: Ground, node: Node, index: int) -> bool:
    """Is this input the positions along time that a Gather takes; its link says whether these are all."""
    if node.op != "Gather" or index != 1:
        return False
    rank = len(ground.walked.facts[node.inputs[0]].shape)
    return int(attr(node, "axis", 0)) % rank == ground.axis(node.inputs[0])


def _uniform(const: Array, again: Array) -> bool:
    """Repeats one value along every axis that follows the length."""
    if const.ndim != again.ndim or const.size == 0 or again.size == 0:
        return False
    axes = [a for a in range(const.ndim) if const.shape[a] != again.shape[a]]
    for array in (const, again):
        for a in axes:
            if not _equal(array, np.broadcast_to(np.take(array, [0], a), array.shape)):
                return False
    first: Any = tuple(slice(0, 1) if a in axes else slice(None) for a in range(const.ndim))
    return _equal(const[first], again[first])


def _equal(a: Array, b: Array) -> bool:
    return a is b or bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _again(ground: Ground, node: Node) -> Iterator[tuple[Walk, list[Link]]]:
    """The walks at other lengths that hold all values of a node, with its links there."""
    for walked in ground.others:
        if all(name in walked.facts for name in (*node.inputs, *node.outputs) if name):
            yield walked, links(node, walked)


def passes(ground: Ground, node: Node, link: Link) -> bool:
    """Does the axis also pass whole where the sequence is shorter or longer."""
    if registry.find(node).flow is pass_broadcast:
        return True
    place = (link.input, link.axis, link.output, link.out_axis)
    for walked, found in _again(ground, node):
        extent = walked.facts[node.inputs[link.input]].shape[link.axis]
        if extent == 1 and any(x.kind == "pick" and (x.input, x.axis) == place[:2] for x in found):
            continue  # the one step that there is
        if not any(
            (x.input, x.axis, x.output, x.out_axis) == place
            and (x.kind == "same" or (x.kind == "slice" and x.info == (0, extent, 1)))
            for x in found
        ):
            return False
    return True


def alike(ground: Ground, node: Node, at: Link) -> bool:
    """Is the window, or what a step makes, the same, however long the sequence is."""
    return all(at in found for _, found in _again(ground, node))


def told_part(ground: Ground, node: Node, at: Link) -> str:
    """Which steps a node takes out of the sequence, where they are the first or the last ones at every length; else
    nothing."""
    if not ground.others:
        return ""
    first, last = set[tuple[int, int]](), set[tuple[int, int]]()
    for walked, found in ((ground.walked, [at]), *_again(ground, node)):
        n = walked.facts[node.inputs[at.input]].shape[at.axis]
        places = [(x.input, x.axis, x.output) for x in found]
        if n < ground.extent or (at.input, at.axis, at.output) not in places:
            continue  # all that there is
        link = found[places.index((at.input, at.axis, at.output))]
        if link.kind not in ("slice", "pick"):
            continue
        start, stop, step = link.info if link.kind == "slice" else (link.info % n, link.info % n + 1, 1)
        if step != 1 or not 0 <= start < stop:
            return ""
        if stop - start < n:
            first.add((start, stop))
            last.add((n - start, n - stop))
    if len(last) == 1 and (k := next(iter(last))) and len(first) > 1:
        back, to = k
        if back - to == 1:
            which = "the last step" if to == 0 else f"step {-back}, counted from the end,"
        elif to == 0:
            which = f"the last {back} steps"
        else:
            which = f"the steps {-back} to {-to - 1}, counted from the end,"
        return f"takes {which} of the sequence, which are known when it has ended"
    if len(first) == 1:
        start, stop = next(iter(first))
        which = f"steps {start} to {stop - 1}" if stop - start > 1 else f"step {start}"
        return f"takes {which} of the sequence alone, whatever its length: a stream gives a step for each that is fed"
    return ""


def sized(ground: Ground, node: Node) -> bool:
    """Is a node told a size that follows the length."""
    told = [node.inputs[i] for i in registry.find(node).sizes if i < len(node.inputs) and node.inputs[i]]
    found = [[walked.facts[v].const for walked in (ground.walked, *ground.others) if v in walked.facts] for v in told]
    return any(a is None or b is None or not _equal(a, b) for consts in found for a, b in pairwise(consts))


def at_end(ground: Ground, node: Node, at: Link) -> bool:
    """Does the pick follow the end, however long the sequence is."""
    for walked, links_there in _again(ground, node):
        n = walked.facts[node.inputs[at.input]].shape[at.axis]
        found = [x for x in links_there if (x.input, x.axis, x.output) == (at.input, at.axis, at.output)]
        if not any(
            (x.kind == "pick" and x.info in (-1, n - 1))
            or (x.kind == "slice" and x.info == (n - 1, n, 1))
            or (x.kind == "same" and n == 1)
            for x in found
        ):
            return False
    return True


def strided(ground: Ground, node: Node, link: Link) -> bool:
    """Does a Slice take one step of every few up to the end, the same at every length."""
    start, _, step = link.info
    if node.op != "Slice" or step <= 1 or not ground.others:
        return False
    for walked, found in ((ground.walked, [link]), *_again(ground, node)):
        n = walked.facts[node.inputs[0]].shape[link.axis]
        parts = [x.info for x in found if x.kind == "slice" and x.axis == link.axis] or [(0, n, 1)]
        if n > 1 and not any(
            (a, k) == (start, step) and len(range(a, b, k)) == len(range(a, n, k)) for a, b, k in parts
        ):
            return False
    return True


def cropped(ground: Ground, node: Node, link: Link) -> bool:
    """Does a Slice take the same few steps off the ends, whatever the length."""
    source, value = node.inputs[0], node.outputs[0]
    taken: set[tuple[int, int]] = set()
    for walked in (ground.walked, *ground.others) if node.op == "Slice" and ground.others else ():
        if source not in walked.facts or value not in walked.facts:
            continue
        before, after = (list(walked.facts[name].shape) for name in (source, value))
        parts = [x.info for x in links(node, walked) if x.kind == "slice" and x.axis == link.axis]
        start, stop, step = parts[0] if parts else (0, before[link.axis], 1)
        if step != 1 or [n for a, n in enumerate(before) if a != link.axis] != [
            n for a, n in enumerate(after) if a != link.axis
        ]:
            return False
        if after[link.axis] > 0:  # where all is cut off, how much of it is not seen
            taken.add((start, before[link.axis] - stop))
    return len(taken) == 1 and taken != {(0, 0)}
