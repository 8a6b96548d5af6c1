"""Evidence that lies in the shape of the flow: all that an input does goes through one output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .decided import Decided
from .grid import Mask
from .matching import components, only_matching
from .paths import ANY, DIRECT, ELEMENTWISE, SUM, UNREACHED

__all__ = ["drives", "through_outputs", "through_outputs_by_name", "twice"]

Edge = tuple[str, int]

THROUGH = "every output goes through it"


def through_outputs(decided: Decided) -> None:
    """Another value is added to the input element by element, another output is computed from what comes out, and the
    input does nothing else: a leaky sum, an envelope, a diagonal recurrence."""
    scene = decided.scene
    fits = (scene.sums <= ELEMENTWISE) & ((scene.levels > SUM) | scene.witnesses) & ~_contested(decided)
    while _close(decided, fits, THROUGH):
        pass


def through_outputs_by_name(decided: Decided) -> None:
    """The same for any way into an output, where a name says that it is a state."""
    scene = decided.scene
    fits = (scene.levels <= ANY) & scene.said[0][:, None]
    while _close(decided, fits, f"{THROUGH}, and its name says so"):
        pass


def _contested(decided: Decided) -> Mask:
    """Pairs by way of a function, without a name that says so, whose target another input may hold one call later too: a
    delay of what was computed there, for which the first is a signal that is added."""
    scene = decided.scene
    may = scene.fitting & (scene.levels == UNREACHED) & np.any(scene.levels <= ANY, axis=1, keepdims=True)
    may[[scene.row[name] for name in decided.pairs]] = False
    contested: Mask = (scene.levels > DIRECT) & ~scene.witnesses & may.any(axis=0) & scene.frames
    return contested


def _fed(decided: Decided, found: Mapping[str, int]) -> bool:
    """Does something that is fed reach each of these next values, in this call or through states in later ones: what goes
    on by itself is no state without a name that says so."""
    scene, pairs = decided.scene, {**decided.pairs, **found}
    nothing = np.full(len(scene.fed), UNREACHED, np.uint8)
    ways = np.array([scene.paths.level.get(scene.targets[k].value, nothing) for k in pairs.values()]) <= ANY
    rows = [scene.index[name] for name in pairs]
    live = np.array([name not in pairs for name in scene.fed], np.bool_)
    for _ in pairs:
        live[rows] |= ways[:, live].any(axis=1)
    return all(live[scene.index[name]] for name in found)


def _close(decided: Decided, fits: Mask, words: str) -> bool:
    """Take the smallest set of free outputs that closes: cut there, as many inputs reach nothing else."""
    scene = decided.scene
    edges = decided.free_edges(fits & scene.exposures)
    sets: list[tuple[int, list[int]]] = []
    for k in sorted({k for _, k in edges}):
        closed = _closed(decided, k, edges)
        sets.append((len(closed), sorted(closed)))
    for _, closed_set in sorted(sets):
        inside = _inputs_of(decided, set(closed_set), edges)
        mine = [(n, k) for n, k in edges if n in inside and k in closed_set]
        found = only_matching(mine)
        if found is None or len(found) != len(closed_set):
            continue
        left = decided.feeds() - set(found)
        if words == THROUGH and not _fed(decided, found):
            continue
        if (left or not scene.frames) and decided.settle(dict.fromkeys(found.items(), words), ties=False):
            return True
    return False


def _closed(decided: Decided, target: int, edges: list[Edge]) -> set[int]:
    """One output, and the free exposed ones that its inputs reach beside it, and so on."""
    scene = decided.scene
    closed, usable = {target}, {k for k in decided.free_targets() if scene.exposed(k)}
    while True:
        ends = scene.confined({core for k in closed for core in scene.targets[k].cores})
        beside = [ends[name] - closed for name, k in edges if k in closed]
        more = set[int]().union(*(reached for reached in beside if reached <= usable))
        if not more:
            return closed
        closed |= more


def _inputs_of(decided: Decided, closed: set[int], edges: list[Edge]) -> set[str]:
    """The inputs with an edge into these outputs that reach no other."""
    scene = decided.scene
    cut = {core for k in closed for core in scene.targets[k].cores}
    ends = scene.confined(cut)
    return {name for name, k in edges if k in closed and ends[name] <= closed}


def drives(decided: Decided) -> None:
    """A summed element-wise way into an output from which a sure next value is computed, and nothing of the input goes
    past it: the running maximum beside a cell."""
    scene = decided.scene
    sure = decided.sure
    cut = {core for k in sure for core in scene.targets[k].cores}

    drive = np.array([bool(scene.behind[k] & sure) for k in range(len(scene.targets))], np.bool_)
    ends: dict[int, dict[str, set[int]]] = {}

    def fits(name: str, k: int) -> bool:
        if k not in ends:
            ends[k] = scene.confined(cut | scene.targets[k].cores)
        return ends[k][name] <= sure | {k}

    edges = decided.free_edges((scene.sums <= ELEMENTWISE) & drive & ~_contested(decided), fits)
    edges = [edge for edge in edges if _fed(decided, dict([edge]))]
    if edges and (decided.feeds() - {name for name, _ in edges} or not scene.frames):
        decided.settle(dict.fromkeys(edges, "it drives a state with what it becomes"))


def twice(decided: Decided) -> None:
    """An output is given twice, and one input of its shape reaches it."""
    scene = decided.scene
    answers = set[int]().union(*(scene.behind[k] for k in decided.sure))
    given = [len(target.outputs) > 1 and k not in answers for k, target in enumerate(scene.targets)]
    of_more = (scene.levels <= ANY) & ~scene.singles  # what depends on itself alone may be a signal
    edges = decided.free_edges(of_more & np.array(given, np.bool_))
    for part in components(edges):
        left = decided.feeds() - {name for name, _ in part}
        if left or not scene.frames:
            decided.settle(dict.fromkeys(part, "given twice"), ties=False)
