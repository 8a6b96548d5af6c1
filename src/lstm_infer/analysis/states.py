"""Which graph outputs hold the next value of which state inputs.

By data flow: first the output that a state reaches through sums, products and moves (and the recurrent operator's
own state path), then through any element-wise operator, then a unique perfect matching by reachability and shape.
Names decide only what is left, and say so; where they confirm the sure pairs, they have to confirm those by
reachability too. A wrong pairing is worse than a refusal.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import StateError
from ..graph.ir import Node, Port
from ..ops import carries, registry
from ..ops.common import pass_broadcast
from ..walk.walk import Walk
from .names import affinity, says_state

__all__ = ["pair_states"]

DIRECT, ELEMENTWISE, ANY, CONDITION, UNREACHED = 1, 2, 3, 4, 255
"""How one value comes from another. CONDITION: it only tells which of other values are taken, so it passes nothing on."""

HIDES = -1e4
"""Exporters add this times a mask, or less, to what a Softmax shall not see."""

_DIRECT_OPS = {
    "Add", "Sub", "Mul", "Div", "Neg", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice",
    "Split", "Concat", "Expand", "Cast", "Pad", "Tile", "Where",
}  # fmt: skip


def _level(node: Node, index: int, output: int) -> int:
    if node.domain == "" and node.op == "Where" and index == 0:
        return CONDITION
    if node.domain == "" and node.op in _DIRECT_OPS:
        return DIRECT
    if node.domain == "" and node.op in ("Gather", "ScatterND", "ScatterElements", "GatherElements"):
        return DIRECT if index != 1 else ANY
    if carries.carries(node):
        return DIRECT if any(i == index and o == output for _, i, o in carries.states(node)) else ANY
    return ELEMENTWISE if registry.find(node).flow is pass_broadcast else ANY


def reach(walked: Walk, starts: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """For every value the weakest link on the best path from each of `starts`; UNREACHED where there is none."""
    level: dict[str, NDArray[np.uint8]] = {}
    for index, name in enumerate(starts):
        level[name] = np.full(len(starts), UNREACHED, np.uint8)
        level[name][index] = 0
    for node in walked.nodes:
        inside = [(i, level[value]) for i, value in enumerate(node.inputs) if value in level]
        if not inside:
            continue
        for output, name in enumerate(node.outputs):
            if name:
                ways = [np.maximum(way, np.uint8(_level(node, i, output))) for i, way in inside]
                level[name] = ways[0] if len(ways) == 1 else np.minimum.reduce(ways)
    return level


def _given(given: Mapping[str, str], walked: Walk, streamed: Mapping[str, int]) -> dict[str, str]:
    """The pairs that the caller fixed, where they can be pairs."""
    for name, out in given.items():
        fact, other = walked.facts[name], walked.facts[out]
        if name in streamed:
            raise StateError(f"states: {name!r} has the time axis and is streamed; it cannot be a state")
        if fact.const is not None:
            raise StateError(f"states: {name!r} was made a constant; it cannot be a state")
        if fact.shape != other.shape or fact.dtype != other.dtype:
            raise StateError(
                f"states: {out!r} ({other.dtype}{list(other.shape)}) cannot be the next value of {name!r} "
                f"({fact.dtype}{list(fact.shape)})"
            )
    if len(set(given.values())) != len(given):
        raise StateError(f"states: one output is the next value of two states in {dict(given)}")
    return dict(given)


def pair_states(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    walked: Walk,
    *,
    streamed: Mapping[str, int],
    given: Mapping[str, str] | None,
    sequences: Collection[str] = (),
) -> dict[str, str]:
    """State input to output.

    Parameters
    ----------
    inputs, outputs : ports of the graph, in its order
    walked : a walk at sizes at which a state has the same shape going in and coming out
    streamed : inputs with a time axis; never states
    given : pairs the caller fixed (`load(states=)`); nothing else is paired then
    sequences : inputs along which some recurrence runs: states only where sums, products and moves pass them on

    Raises
    ------
    StateError
        Several pairings fit and not even names tell them apart.
    """
    if given is not None:
        return _given(given, walked, streamed)
    fed = [port.name for port in inputs if walked.facts[port.name].const is None]
    level = reach(walked, fed)
    masks = _masks(walked, fed, level)
    edges: dict[tuple[str, str], int] = {}
    for index, name in enumerate(fed):
        fact = walked.facts[name]
        if name in streamed or fact.dtype.kind != "f" or not fact.shape:
            continue
        for out in outputs:
            other = walked.facts[out.name]
            if out.name not in level or other.shape != fact.shape or other.dtype != fact.dtype:
                continue
            how = level[out.name]
            # what depends on nothing else is more often a quantity derived from a side input than a state
            alone = int((how != UNREACHED).sum()) == 1 and affinity(name, out.name) < 2
            if name in masks and how[index] == ANY:
                continue
            if name in sequences and how[index] > DIRECT:
                continue  # what a recurrence makes of a sequence is an answer to it, not its next value
            if how[index] < CONDITION and not alone:
                edges[name, out.name] = int(how[index])
    pairs = _match(edges, inputs, outputs)
    if not streamed:
        pairs = _without_answer(pairs, fed, outputs, walked)
    return _leave_one_stream(pairs, edges, inputs, walked, streamed)


def _masks(walked: Walk, fed: Sequence[str], level: Mapping[str, NDArray[np.uint8]]) -> set[str]:
    """Inputs that do nothing finer than to scale another input row by row, as `(1 - episode_start) * h` does, or to
    hide elements, as `scores - 1e9 * mask` does."""
    found: set[str] = set()

    def alone(value: str, most: int) -> int | None:
        """The one input that this value comes from, at `most` by that link."""
        at = np.flatnonzero(level[value] != UNREACHED) if value in level else np.empty(0)
        return int(at[0]) if len(at) == 1 and level[value][at[0]] <= most else None

    for node in walked.nodes:
        if node.domain == "" and node.op in ("Mul", "Where"):
            for a, b in ((x, y) for x in node.inputs for y in node.inputs if x != y):
                mask, state = alone(a, ELEMENTWISE), alone(b, DIRECT)
                smaller = prod(walked.facts[a].shape) < prod(walked.facts[b].shape)
                if mask is not None and state is not None and mask != state and smaller:
                    found.add(fed[mask])
        if node.domain == "" and node.op == "Mul" and any(_hides(walked, value) for value in node.inputs):
            found.update(fed[mask] for value in node.inputs if (mask := alone(value, ELEMENTWISE)) is not None)
    return found


def _hides(walked: Walk, value: str) -> bool:
    const = walked.facts[value].const
    return const is not None and const.size == 1 and const.dtype.kind == "f" and float(const.reshape(-1)[0]) <= HIDES


def _match(edges: dict[tuple[str, str], int], inputs: Sequence[Port], outputs: Sequence[Port]) -> dict[str, str]:
    pairs: dict[str, str] = {}

    def settle(level: int) -> None:
        left = {e for e, lv in edges.items() if lv <= level and e[0] not in pairs and e[1] not in pairs.values()}
        for part in _components(left):
            found = _only_matching(part)
            if found is not None:
                pairs.update(found)

    for level in (DIRECT, ELEMENTWISE, ANY):
        if level == ANY and any(affinity(*pair) for pair in pairs.items()):
            # where names tell the sure pairs, a reward or an action that merely has the shape of an output is no state
            edges = {edge: how for edge, how in edges.items() if how < ANY or affinity(*edge)}
        settle(level)
        # several that are tied at this level: names may tell them apart before a weaker level is asked
        _by_names(edges, pairs, level)
        settle(level)
    left = {i for i, _ in edges if i not in pairs}
    free = {o for i, o in edges if i in left and o not in pairs.values()}
    if left and free:
        shown = "; ".join(
            f"{i!r} -> one of {sorted(o for j, o in edges if j == i and o in free)}" for i in sorted(left)
        )
        raise StateError(
            f"the states cannot be paired with outputs by data flow or names: {shown}; say which with load(..., states={{...}})"
        )
    return pairs


def _components(edges: set[tuple[str, str]]) -> list[set[tuple[str, str]]]:
    """Edges that hang together."""
    parts: list[set[tuple[str, str]]] = []
    for edge in sorted(edges):
        touching = [p for p in parts if any(e[0] == edge[0] or e[1] == edge[1] for e in p)]
        parts = [p for p in parts if p not in touching] + [{edge}.union(*touching)]
    return parts


def _only_matching(edges: set[tuple[str, str]]) -> dict[str, str] | None:
    """The perfect matching of a component where there is exactly one: it unravels from ends of degree one."""
    left = set(edges)
    if len({i for i, _ in left}) != len({o for _, o in left}):
        return None
    found: dict[str, str] = {}
    while left:
        end = next(
            (e for e in sorted(left) if any(sum(1 for f in left if f[side] == e[side]) == 1 for side in (0, 1))), None
        )
        if end is None:
            return None
        found[end[0]] = end[1]
        left = {e for e in left if e[0] != end[0] and e[1] != end[1]}
    return found if len(found) == len({i for i, _ in edges}) else None


def _by_names(edges: dict[tuple[str, str], int], pairs: dict[str, str], level: int) -> None:
    open_edges = {e: lv for e, lv in edges.items() if lv <= level and e[0] not in pairs and e[1] not in pairs.values()}
    ins = sorted({e[0] for e in open_edges})
    named = {}
    for name in ins:
        best = sorted(((affinity(*e), e[1]) for e in open_edges if e[0] == name), reverse=True)
        if best[0][0] and (len(best) == 1 or best[0][0] > best[1][0]):
            named[name] = best[0][1]
    if not named or len(set(named.values())) != len(named):
        return
    if all(sum(1 for e in open_edges if e[0] == name) == 1 for name in named):
        return
    pairs |= named
    warnings.warn(
        f"states were paired with outputs by their names: {named}; check it, or say it with load(..., states={{...}})",
        stacklevel=6,
    )


def _without_answer(pairs: dict[str, str], fed: Sequence[str], outputs: Sequence[Port], walked: Walk) -> dict[str, str]:
    """A step of a signal into one of the same shape is no state: the first input and the first output, which is computed
    from another state's next value and from which no output is computed."""
    first, answer = fed[0] if fed else "", outputs[0].name
    others = [out for name, out in pairs.items() if name != first]
    if pairs.get(first) != answer or not others or says_state(first):
        return pairs
    below = reach(walked, [answer, *others])
    used = any(below[p.name][0] != UNREACHED for p in outputs[1:] if p.name in below)
    if used or bool((below[answer][1:] == UNREACHED).all()):
        return pairs
    return {name: out for name, out in pairs.items() if name != first}


def _leave_one_stream(
    pairs: dict[str, str],
    edges: dict[tuple[str, str], int],
    inputs: Sequence[Port],
    walked: Walk,
    streamed: Mapping[str, int],
) -> dict[str, str]:
    """Something has to stream: where every input was paired, the weakest pair is no state."""
    if streamed or not pairs:
        return pairs
    free = [
        p.name
        for p in inputs
        if p.name not in pairs and walked.facts[p.name].const is None and walked.facts[p.name].shape
    ]
    if free:
        return pairs
    order = {port.name: index for index, port in enumerate(inputs)}
    weakest = min(pairs, key=lambda name: (-edges[name, pairs[name]], affinity(name, pairs[name]), order[name]))
    return {name: out for name, out in pairs.items() if name != weakest}
