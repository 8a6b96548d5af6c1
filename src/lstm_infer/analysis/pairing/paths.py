"""How a value comes from each input: the best path, by the weakest thing that happens on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ...frozen import frozen
from ...graph.budget import spend
from ...graph.ir import Node
from ...ops import carries, recurrent, registry
from ...ops.common import pass_broadcast
from ...walk.walk import Walk

__all__ = ["ANY", "CONDITION", "DIRECT", "ELEMENTWISE", "MOVE", "SUM", "UNREACHED", "Paths", "find_paths", "link_level",
           "only_step"]  # fmt: skip

MOVE, SUM, DIRECT, ELEMENTWISE, ANY, CONDITION, UNREACHED = 1, 2, 3, 4, 5, 6, 255
"""MOVE: as it is, perhaps elsewhere. SUM: with a value added that comes from elsewhere too, or the larger or chosen one of them.
DIRECT: scaled, cast, repeated, chosen. ELEMENTWISE: through a function of each element. ANY: products, reductions. CONDITION:
it only tells which of other values are taken, so it passes nothing on."""

Levels = NDArray[np.uint8]

WAY = 10_000
"""What it costs to ask what a node does to one of its inputs, beside what comes in by it."""


@frozen
class Paths:
    """For every value, and each of `starts` in order: the level of the best path, of the best that crosses the state
    link of a recurrence, and of the best on which a value is added that another start reaches. UNREACHED where there is
    none."""

    starts: tuple[str, ...]
    level: dict[str, Levels]
    through: dict[str, Levels]
    summed: dict[str, Levels]


def only_step(node: Node, walked: Walk) -> bool:
    """Is this a recurrence over one step, so that its sequence is its first state behind that step."""
    if not recurrent.is_recurrent(node):
        return False
    return all(walked.facts[node.inputs[i]].shape[axis] == 1 for i, axis in carries.runs_over(node))


def state_link(node: Node, index: int, output: int, walked: Walk) -> bool:
    """Is this a recurrence's own way from the state before to the state behind."""
    if not carries.carries(node):
        return False
    states = carries.states(node)
    if output == 0 and only_step(node, walked):
        output = states[0][2]
    return any(i == index and o == output for _, i, o in states)


def link_level(node: Node, index: int) -> int:
    """What a node does to one of its inputs on the way to its outputs, where nothing from elsewhere is added."""
    moves, mixes = registry.moves(node), registry.mixes(node)
    if moves:
        known = moves == "join" or index == 0
        return (DIRECT if moves in ("cast", "repeat") else MOVE) if known else ANY
    if mixes in ("sum", "scale"):
        return DIRECT
    if mixes == "choose":
        return DIRECT if index else CONDITION
    if mixes == "write":
        return MOVE if index in (0, 2) else ANY
    return ELEMENTWISE if registry.find(node).flow is pass_broadcast else ANY


def find_paths(walked: Walk, starts: Sequence[str]) -> Paths:
    """The best paths from `starts` to every value, in one pass over the nodes."""
    found = Paths(tuple(starts), {}, {}, {})
    none = np.full(len(starts), UNREACHED, np.uint8)
    for index, name in enumerate(starts):
        found.level[name], found.through[name], found.summed[name] = none.copy(), none, none
        found.level[name][index] = 0
    for node in walked.nodes:
        inside = [(i, value) for i, value in enumerate(node.inputs) if value in found.level]
        spend(node, len(inside) * (WAY + 10 * len(starts)))
        for output, name in enumerate(node.outputs):
            if name and inside:
                _pass(found, walked, node, inside, output)
    return found


def _pass(found: Paths, walked: Walk, node: Node, inside: Sequence[tuple[int, str]], output: int) -> None:
    """The levels of one output of a node from those of its live inputs."""
    mixes = registry.mixes(node)
    data = [(i, value) for i, value in inside if mixes != "choose" or i]
    values = {value for _, value in data}
    reached = _reached(found, values) if len(values) > 1 and mixes in ("sum", "larger", "choose") else None
    ways: tuple[list[Levels], list[Levels], list[Levels]] = ([], [], [])
    for i, value in inside:
        link = state_link(node, i, output, walked)
        weight: np.uint8 | Levels = np.uint8(MOVE if link else link_level(node, i))
        joined = (
            None
            if reached is None or (i, value) not in data
            else _from_elsewhere(reached - (found.level[value] != UNREACHED))
        )
        if joined is not None:
            weight = np.where(joined, np.uint8(SUM), weight)
        level = np.maximum(found.level[value], weight)
        summed = np.maximum(found.summed[value], weight)
        ways[0].append(level)
        ways[1].append(level if link else np.maximum(found.through[value], weight))
        ways[2].append(summed if joined is None else np.where(joined, level, summed))
    for kept, levels in zip((found.level, found.through, found.summed), ways, strict=True):
        kept[node.outputs[output]] = levels[0] if len(levels) == 1 else np.minimum.reduce(levels)


def _reached(found: Paths, values: Collection[str]) -> NDArray[np.int64]:
    """By start: how many of these values it reaches."""
    count = np.zeros(len(found.starts), np.int64)
    for value in values:
        count += found.level[value] != UNREACHED
    return count


def _from_elsewhere(others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """By start: does another one reach the other values, so that what is added is not its own, moved or scaled."""
    reached = others > 0
    joined: NDArray[np.bool_] = reached.sum() - reached > 0
    return joined
