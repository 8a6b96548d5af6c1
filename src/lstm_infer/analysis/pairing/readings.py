"""How what no evidence decides may be meant: whole readings of a model, the likeliest first, to be tried and shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product
from math import prod

import numpy as np

from .decided import Decided
from .paths import ANY, ELEMENTWISE, SUM, UNREACHED
from .scene import Scene
from .targets import leaves

__all__ = ["readings"]

Assignment = dict[str, int]
Score = tuple[int, ...]

LIKELY = 3
"""What speaks against a pair at most where its input looks like a state."""
MOST_WEIGHED = 2_000
"""So many readings are compared; of larger models only what was open is."""


def readings(decided: Decided, open_edges: Mapping[str, set[int]]) -> list[Assignment]:
    """What the inputs that are left may become, beside the sure pairs. Each leaves something to feed."""
    edges = _edges(decided)
    if prod(len(targets) + 1 for targets in edges.values()) > MOST_WEIGHED:
        was = {
            name: {k: edges[name][k] for k in open_edges[name] & set(edges[name])}
            for name in edges
            if name in open_edges
        }
        edges = {name: targets for name, targets in was.items() if targets}
    if prod(len(targets) + 1 for targets in edges.values()) > MOST_WEIGHED:
        return [_greedy(decided, edges)]
    found: list[tuple[Score, Assignment]] = []
    for picked in product(*([-1, *targets] for targets in edges.values())):
        taken = [k for k in picked if k >= 0]
        if len(set(taken)) != len(taken):
            continue
        one = {name: k for name, k in zip(edges, picked, strict=True) if k >= 0}
        if (decided.pairs or one) and (decided.feeds() - set(one) or not decided.scene.frames):
            found.append((_score(decided, edges, one), one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _greedy(decided: Decided, edges: Mapping[str, Mapping[int, int]]) -> Assignment:
    """The best that is free for one input after the other, the last signal kept."""
    taken: Assignment = {}
    for name, targets in edges.items():
        free = [k for k in sorted(targets, key=lambda k: (targets[k], k)) if k not in taken.values()]
        if free and (decided.feeds() - {*taken, name} or not decided.scene.frames):
            taken[name] = free[0]
    return taken


def _edges(decided: Decided) -> dict[str, dict[int, int]]:
    """By input: the free targets that may hold its next value, and how much speaks against it."""
    scene, found = decided.scene, dict[str, dict[int, int]]()
    free = decided.free_targets()
    alone = {k: _all_through(scene, k) for k in free}
    for name in decided.free_inputs():
        against = {k: _against(scene, name, k, alone[k]) for k in free if scene.fits(name, k)}
        if against := {k: n for k, n in against.items() if n >= 0}:
            found[name] = against
    return found


def _all_through(scene: Scene, target: int) -> set[str]:
    """The inputs that reach other outputs through this one only, where there are such outputs."""
    if not scene.exposed(target):
        return set()
    ends = scene.confined(scene.targets[target].cores)
    beside = np.flatnonzero(np.delete(ends, target, axis=1).any(axis=1))
    return set(scene.inputs) - {scene.inputs[i] for i in beside}


def _against(scene: Scene, name: str, target: int, all_through: Collection[str]) -> int:
    """How much speaks against a pair that nothing has decided; -1: it cannot be one."""
    level, row = scene.level(name, target), scene.row[name]
    if level == UNREACHED:  # it may hold what comes in the input's place in the next call: a delay
        others = any(scene.reaches(name, k) for k in range(len(scene.targets)) if k != target)
        signal = leaves(scene.targets[target].value, scene.makers) <= set(scene.fed)
        return (1 if signal else 3) if others else -1
    if level > ANY:
        return -1
    if scene.throughs[row, target] <= ELEMENTWISE:
        return 0
    if scene.alone(name, target):
        return 7
    if scene.sums[row, target] <= ELEMENTWISE:
        return 1 if name in all_through else 2 if scene.exposed(target) or level > SUM else 4
    if level <= ELEMENTWISE:
        return 6  # scaled, and nothing added to it
    return 4 if name in all_through else 5


def _drives(scene: Scene, mine: Mapping[int, int], name: str, target: int) -> bool:
    """Does an input go into a next value that is none of its own."""
    return scene.reaches(name, target) and mine.get(target, LIKELY + 1) > LIKELY


def _score(decided: Decided, edges: Mapping[str, Mapping[int, int]], one: Assignment) -> Score:
    """What speaks against a reading: names that go together and are taken apart; outputs that look like next values and are
    none, inputs that drive nothing though they are fed; answers that are fed back; weak pairs; then the order of the
    ports, signals before states."""
    scene = decided.scene
    states = {**decided.pairs, **one}
    held = set(states.values())
    likely = {*decided.sure, *(k for name, k in one.items() if edges[name][k] <= LIKELY)}
    missed = sum(
        k not in held and (scene.exposed(k) or not any(scene.reaches(s, k) for s in states))
        for k in range(len(scene.targets))
    )
    idle = sum(
        min(edges[name].values()) <= LIKELY and not any(_drives(scene, edges[name], name, k) for k in likely)
        for name in edges
        if name not in one
    )
    back = sum(
        not scene.exposed(k) and any(scene.reaches(s, k) for s in states if s != name) for name, k in one.items()
    )
    weak = sum(edges[name][k] for name, k in one.items())
    said = sum(scene.rhymes(name, k) and scene.witnessed(name, k) for name, k in one.items())
    at = [scene.index[name] for name in one]
    order = [states[name] for name in scene.inputs if name in states]
    crossed = sum(a > b for i, a in enumerate(order) for b in order[i + 1 :])
    rhymed = sum(bool(scene.partners[scene.row[name], k]) for name, k in one.items())
    apart = _taken_apart(scene, states)
    return -said, apart, missed + idle - 2 * rhymed, -rhymed, back, weak, crossed, -sum(at)


def _taken_apart(scene: Scene, states: Mapping[str, int]) -> int:
    """How many pairs have an input or an output that goes by its name with another one."""
    close = scene.partners
    return sum(
        not close[scene.row[name], k] and bool(close[scene.row[name]].any() or close[:, k].any())
        for name, k in states.items()
    )
