"""Evidence that lies in the flow itself: a recurrence's state, a cache, a counter, a delay."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from ...graph.ir import Array, Node
from ...ops import carries, registry
from ..names import says_state
from .decided import Decided
from .paths import ANY, DIRECT, ELEMENTWISE, MOVE, SUM, UNREACHED
from .scene import Scene
from .targets import MOST_TAGGED, leaves

__all__ = ["CACHE", "caches", "counters", "delay_of", "delays", "recurrences"]

CACHE = "cache joined with the input and cut"


def recurrences(decided: Decided) -> None:
    """A way through a recurrence's own state path, with nothing but sums and scales before and behind."""
    scene = decided.scene
    for level in (MOVE, SUM, DIRECT):
        edges = decided.free_edges(scene.throughs <= level)
        entered = {name: _recurrence(scene, name) for name in {name for name, _ in edges}}
        decided.settle({(name, k): f"enters the recurrence of {entered[name]}" for name, k in edges})


def _recurrence(scene: Scene, name: str) -> str:
    """The recurrence that an input enters with the least done to it before."""
    at, found = scene.index[name], []
    for node in scene.walked.nodes:
        if carries.carries(node):
            ways = [scene.paths.level.get(node.inputs[i]) for _, i, _ in carries.states(node) if i < len(node.inputs)]
            found += [(int(way[at]), f"node {node.name!r}") for way in ways if way is not None]
    return min(found, default=(0, "a node"))[1]


# ---- caches -------------------------------------------------------------------------------------------------


def caches(decided: Decided) -> None:
    """The next value is joined of the old one and something else, and cut, by moves alone. What is cut out again as it went
    in is handed through."""
    scene = decided.scene
    for k in decided.free_targets():
        held = leaves(scene.targets[k].value, scene.makers)
        live = {value for value in held if scene.fact(value).const is None}
        found = [name for name in decided.free_inputs() if name in live and scene.fits(name, k)]
        found = [
            name for name in found if not scene.alone(name, k)
        ]  # joined with what is computed from itself: no cache
        if not found or len(live) < 2:
            continue
        left = _remain(scene, scene.targets[k].value)
        if left is not None:
            found = [name for name in found if left != {name} and not (len(found) > 1 and name in left)]
        decided.settle({(name, k): CACHE for name in found})


def _remain(scene: Scene, value: str) -> set[str] | None:
    """The leaves of which a value still holds an element; None where that is not known before the call."""
    numbers: dict[str, int] = {}
    found = _moved(scene, value, lambda name: np.full(scene.fact(name).shape, numbers.setdefault(name, len(numbers))))
    kept = set() if found is None else set(np.unique(found).tolist())
    return None if found is None else {name for name, number in numbers.items() if number in kept}


def _moved(scene: Scene, value: str, tag: Callable[[str], Array]) -> Array | None:
    """What a value holds where the leaves that it is moved from hold their tags; None where that is not known before the
    call."""
    made: dict[str, Array] = {}

    def tags(name: str) -> Array | None:
        if name in made:
            return made[name]
        node, fact = scene.makers.get(name), scene.fact(name)
        if prod(fact.shape) > MOST_TAGGED:
            return None
        if node is None or registry.moves(node) not in ("axes", "order", "part", "join"):
            if node is not None and registry.mixes(node) == "write":
                return None
            made[name] = tag(name)
            return made[name]
        joins = registry.moves(node) == "join"
        ins: list[Array | None] = [tags(v) for v in (node.inputs if joins else node.inputs[:1])]
        if any(one is None for one in ins):
            return None
        if not joins:
            ins += [scene.fact(v).const if v else None for v in node.inputs[1:]]
            if any(v and scene.fact(v).const is None for v in node.inputs[1:]):
                return None
        made.update(zip(node.outputs, registry.find(node).evaluate(node, ins), strict=False))
        return made[name]

    return tags(value)


# ---- counters -----------------------------------------------------------------------------------------------


def counters(decided: Decided) -> None:
    """An integer that a positive constant is added to, and that is perhaps wrapped or clipped then."""
    scene = decided.scene
    whole = np.array([scene.fact(name).dtype.kind in "iu" for name in scene.inputs], np.bool_)
    edges = decided.free_edges(
        whole[:, None] & (scene.levels <= ELEMENTWISE), lambda name, k: _counts(scene, name, scene.targets[k].value)
    )
    decided.settle(dict.fromkeys(edges, "counter"))


def _counts(scene: Scene, name: str, value: str) -> bool:
    """Is a value this input plus a positive constant, and element by element made of it: of several ways that meet again (a
    remainder taken apart) the sum comes first."""
    at, seen = scene.index[name], False
    while value != name:
        node = scene.makers.get(value)
        if node is None or registry.moves(node) == "join":
            return False
        levels = {v: scene.paths.level.get(v) for v in node.inputs if v}
        ways = [v for v, level in levels.items() if level is not None and level[at] <= ELEMENTWISE]
        if len(ways) != 1:
            return _begins_with_a_sum(scene, name, value)
        seen = seen or (registry.mixes(node) == "sum" and _adds(scene, node, ways[0]))
        value = ways[0]
    return seen


def _begins_with_a_sum(scene: Scene, name: str, value: str) -> bool:
    """Does a value read the input through one node, that adds a positive constant."""
    todo, seen, readers = [value], set[str](), []
    while todo:
        one = todo.pop()
        node = scene.makers.get(one)
        if node is None or one in seen:
            continue
        seen.add(one)
        readers += [node] if name in node.inputs else []
        todo += [v for v in node.inputs if v and v != name]
    return len(readers) == 1 and registry.mixes(readers[0]) == "sum" and _adds(scene, readers[0], name)


def _adds(scene: Scene, node: Node, value: str) -> bool:
    """Does a sum make this value larger, by a constant."""
    others = [scene.fact(v).const for v in node.inputs if v != value]
    signs = -1 if node.op == "Sub" else 1
    if node.op == "Sub" and node.inputs[0] != value:
        return False
    return all(const is not None and const.size and bool((const * signs > 0).all()) for const in others)


# ---- delays -------------------------------------------------------------------------------------------------


def delay_of(decided: Decided, target: int) -> str | None:
    """The value that a target is, or is a part of, where that goes to other outputs too: an input, or what was computed on
    the way."""
    scene = decided.scene
    held = leaves(scene.targets[target].value, scene.makers)
    name = next(iter(held))
    if len(held) != 1:
        return None
    if name in scene.fed:
        goes_on = any(scene.reaches(name, k) for k in range(len(scene.targets)) if k != target)
    else:
        goes_on = bool(scene.behind[target])
    return name if goes_on else None


def partners(decided: Decided, target: int, source: str) -> list[str]:
    """The inputs that may hold what `source` was one call before: they meet it on the way to an output, but go not to this
    one, nor element by element to one that is free."""
    scene, free = decided.scene, [k for k in decided.free_targets() if k != target]
    ends = range(len(scene.targets)) if source in scene.fed else scene.behind[target]
    beside = [k for k in ends if source not in scene.fed or scene.reaches(source, k)]
    reached = (scene.levels <= ANY)[:, beside].any(axis=1)
    near = ((scene.levels <= ELEMENTWISE) & scene.fitting)[:, free].any(axis=1)
    may = reached & (scene.levels[:, target] == UNREACHED) & ~near & scene.fitting[:, target]
    return [name for name in decided.free_inputs() if name != source and may[scene.row[name]]]


def _called(decided: Decided, target: int) -> list[str]:
    """The inputs that do not go to a target and say that they are states, where an output of it is called after them."""
    scene = decided.scene
    apart = [name for name in decided.free_inputs() if scene.fits(name, target) and not scene.reaches(name, target)]
    return [name for name in apart if scene.named_after(name, target)]


def delays(decided: Decided) -> None:
    """The output is the signal itself, or a part of it, and an input of its shape holds what it was before. A name tells
    it from a signal, or a part of one, that is handed through."""
    scene = decided.scene
    if not scene.frames:
        return
    edges: dict[tuple[str, int], str] = {}
    for k in decided.free_targets():
        source, told = delay_of(decided, k), []
        if source is None:
            continue
        called = _called(decided, k)
        if scene.rhymes(source, k):  # x, x_prev -> x_next, which is x
            called = [name for name in called if scene.rhymes(name, k) and not says_state(source)]
        elif source in scene.fed:
            told = [name for name in partners(decided, k, source) if scene.witnessed(name, k)]
        edges.update({(name, k): f"delay of {source}" for name in called or told})
    decided.settle(edges)
