"""What no evidence has decided: a signal, or for the caller to say."""

from __future__ import annotations

import numpy as np

from .decided import Decided
from .flow import delay_of, partners
from .grid import Mask
from .naming import answers, drives_sure, informs, scales
from .paths import ANY, ELEMENTWISE, MOVE, SUM, link_level
from .scene import Scene
from .targets import root

__all__ = ["undecided"]

Edges = dict[str, set[int]]


def undecided(decided: Decided) -> Edges:
    """Inputs that may be states, by the targets that may hold their next values; empty where the rest are signals."""
    found = _tied(decided)
    if not decided.scene.frames:
        return found
    _merge(found, _delayed(decided))
    _merge(found, _halves(decided))
    doubtful, made = _doubtful(decided), _made(decided)
    for group in _alike(decided):
        mine = {name: doubtful[decided.scene.row[name]] for name in group}
        if not decided.feeds() - set(group) and (decided.pairs or len(group) == 1):
            # all of them as states would leave nothing to feed: signals, unless some may be states of what no state makes
            mine = {name: asked & ~made for name, asked in mine.items()}
            may = np.logical_or.reduce(list(mine.values()))
            driving = int((may & decided.scene.exposures).sum())  # others are computed from these
            if may.sum() >= len(group) and not 0 < driving < len(group):
                continue
        _merge(found, {name: set(np.flatnonzero(asked).tolist()) for name, asked in mine.items() if asked.any()})
    return found


def _merge(found: Edges, more: Edges) -> None:
    for name, targets in more.items():
        found.setdefault(name, set()).update(targets)


def _tied(decided: Decided) -> Edges:
    """Inputs with evidence of several targets, or several of one."""
    free = set(decided.free_targets())
    tied = {name: targets & free for name, targets in decided.open.items() if name not in decided.pairs}
    return {name: targets for name, targets in tied.items() if targets}


def _delayed(decided: Decided) -> Edges:
    """An output is an input itself, and another may hold what that was before, but no name says so."""
    found: Edges = {}
    for k in decided.free_targets():
        source = delay_of(decided, k)
        if source is not None and source not in decided.pairs and not decided.scene.rhymes(source, k):
            for name in partners(decided, k, source):
                found.setdefault(name, set()).add(k)
    return found


def _halves(decided: Decided) -> Edges:
    """An output is a gate times a function of a sure next value, itself a sum of products: h = o * H(c), or o * c / n, of a
    cell that was not recognised since its input and its h stand alike. The inputs that may be that h."""
    scene = decided.scene
    found: Edges = {}
    sure = {core for k in decided.sure for core in scene.targets[k].cores}
    made = {core for core in sure if _blends(scene, core)}
    for k in decided.free_targets() if made else ():
        times, over = _factors(scene, scene.targets[k].value)
        half = any(_squashed(scene, value) in made for value in times)
        normed = any(_inside(scene, value) in sure for value in over) and any(value in made for value in times)
        if not ((half or normed) and len(times) > 1):
            continue
        for i in np.flatnonzero(decided.free()[:, k] & (scene.levels[:, k] == ANY)).tolist():
            found.setdefault(scene.inputs[i], set()).add(k)
    return found


def _factors(scene: Scene, value: str) -> tuple[list[str], list[str]]:
    """What a value is the product of, and what that is divided by."""
    node = scene.makers.get(value)
    if node is None or node.op not in ("Mul", "Div") or node.domain:
        return [value], []
    ends = [_factors(scene, root(v, scene.makers, scene.walked)) for v in node.inputs]
    (times, over), (others, under) = ends[0], ends[1] if node.op == "Mul" else ends[1][::-1]
    return times + others, over + under


def _inside(scene: Scene, value: str) -> str:
    """The value that this one is a function of, element by element, or itself."""
    while inner := _squashed(scene, value):
        value = inner
    return value


def _blends(scene: Scene, value: str) -> bool:
    """Is a value a sum of two products."""
    node = scene.makers.get(value)
    parts = [scene.makers.get(root(v, scene.makers, scene.walked)) for v in node.inputs] if node is not None else []
    return node is not None and node.op == "Add" and all(part is not None and part.op == "Mul" for part in parts)


def _squashed(scene: Scene, value: str) -> str:
    """The value of which this one is a function, element by element."""
    node = scene.makers.get(root(value, scene.makers, scene.walked))
    known = node is not None and len([v for v in node.inputs if v and scene.fact(v).const is None]) == 1
    if node is None or not known or link_level(node, 0) > ELEMENTWISE:
        return ""
    return root(node.inputs[0], scene.makers, scene.walked)


def _alike(decided: Decided) -> list[list[str]]:
    """Inputs that are left, grouped by how they stand in the graph: equal evidence, equal verdict."""
    scene, free, groups = decided.scene, decided.free_targets(), {}  # type: ignore[var-annotated]
    sure = sorted(decided.sure)
    for name in decided.free_inputs():
        row = scene.row[name]
        levels, fits = scene.levels[row], scene.fitting[row, free]
        key = scene.fact(name).shape, np.sort(levels[free][fits]).tobytes(), np.sort(levels[sure]).tobytes()
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _doubtful(decided: Decided) -> Mask:
    """The free pairs whose input may be a state that the target holds the next value of, so that it has to be asked."""
    scene, levels = decided.scene, decided.scene.levels
    asked = decided.free() & (levels <= ANY)
    floats = np.array([scene.fact(name).dtype.kind == "f" for name in scene.inputs], np.bool_)[:, None]
    moved = levels <= MOVE
    own = asked & scene.singles  # depends on itself alone
    rest = asked & ~scene.singles & ~moved & ~scales(scene)
    near = scene.sums <= ELEMENTWISE
    answer = answers(decided)
    drives = drives_sure(decided)[:, None]
    others = len(decided.free_targets()) > 1  # beside the one that is asked for
    # a gain on a signal that drives a sure state, which the only answer is made of: an answer fed back would be a sum
    gained = _made(decided) & (scene.levels > SUM)
    undecided = rest & floats & np.where(near, drives & (not others) & ~gained, ~scene.exposures & ~answer)
    told = informs(decided, undecided)
    summed = ~drives | others | ~(told | gained)
    anyhow = scene.exposures | ~(answer | told)
    found: Mask = (own & floats & ~moved) | (rest & ~floats & scene.said[0][:, None])
    return found | (rest & floats & np.where(near, summed, anyhow))


def _made(decided: Decided) -> Mask:
    """The same, and those that a sure state reaches."""
    rows = [decided.scene.row[name] for name in decided.pairs]
    found: Mask = answers(decided) | (decided.scene.levels[rows] <= ANY).any(axis=0)
    return found
