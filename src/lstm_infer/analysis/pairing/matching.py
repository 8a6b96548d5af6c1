"""Perfect matchings that are the only one, found without search."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

__all__ = ["Edge", "components", "only_matching"]

Edge = tuple[str, int]
"""(input, number of a target)."""


def components(edges: Iterable[Edge]) -> list[set[Edge]]:
    """Edges that hang together."""
    leader: dict[object, object] = {}

    def top(one: object) -> object:
        while leader.setdefault(one, one) != one:
            leader[one] = leader[leader[one]]
            one = leader[one]
        return one

    kept = sorted(set(edges))
    for name, target in kept:
        leader[top(name)] = top(target)
    parts: dict[object, set[Edge]] = {}
    for edge in kept:
        parts.setdefault(top(edge[0]), set()).add(edge)
    return list(parts.values())


def only_matching(edges: Collection[Edge]) -> dict[str, int] | None:
    """The perfect matching of these edges where there is exactly one: a graph that has only one unravels from its ends of
    degree one."""
    inputs: dict[str, set[int]] = {}
    targets: dict[int, set[str]] = {}
    for name, target in edges:
        inputs.setdefault(name, set()).add(target)
        targets.setdefault(target, set()).add(name)
    if len(inputs) != len(targets):
        return None
    found: dict[str, int] = {}
    ends = deque(sorted({e for e in edges if len(inputs[e[0]]) == 1 or len(targets[e[1]]) == 1}))
    while ends:
        name, target = ends.popleft()
        if name in found or target not in targets or target not in inputs[name]:
            continue
        found[name] = target
        touched = {(other, target) for other in targets.pop(target) if other != name}
        touched |= {(name, other) for other in inputs[name] if other != target}
        inputs[name] = {target}
        for other, gone in touched:
            if gone == target:
                inputs[other].discard(target)
                ends.extend((other, t) for t in inputs[other] if len(inputs[other]) == 1)
            else:
                targets[gone].discard(name)
                ends.extend((n, gone) for n in targets[gone] if len(targets[gone]) == 1)
    return found if len(found) == len(inputs) and len(set(found.values())) == len(found) else None
