"""Evidence that lies in the shape of the flow: all that an input does goes through one output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...frozen import frozen
from ...ops import registry
from .decided import Decided
from .grid import Mask
from .matching import components, only_matching
from .paths import ANY, DIRECT, ELEMENTWISE, SUM, UNREACHED
from .scene import Scene

__all__ = ["drives", "through_outputs", "through_outputs_by_name", "twice"]

THROUGH = "every output goes through it"


def through_outputs(decided: Decided) -> None:
    """Another value is added to the input element by element, another output is computed from what comes out, and the
    input does nothing else: a leaky sum, an envelope, a diagonal recurrence. A plain sum may be a residual: it counts
    where a name says so, or where nothing else is carried and what is added depends on the state too."""
    scene = decided.scene
    fits = (scene.sums <= ELEMENTWISE) & ((scene.levels > SUM) | scene.witnesses)
    if not decided.pairs:
        plain = (scene.sums <= ELEMENTWISE) & scene.exposures & ~fits
        for name, k in decided.free_edges(plain, lambda name, k: _drives_itself(scene, name, scene.targets[k].value)):
            fits[scene.row[name], k] = True
    fits &= scene.sized & ~_contested(decided)
    _close_all(decided, fits, THROUGH)


def _drives_itself(scene: Scene, name: str, value: str) -> bool:
    """Is a value this input plus what is made, element by element, of it and another."""
    at, level = scene.index[name], scene.paths.level
    while (node := scene.makers.get(value)) is not None:
        ways = {v: level[v] for v in node.inputs if v in level and level[v][at] <= ELEMENTWISE}
        changed = [way for way in ways.values() if way[at] > SUM and (way != UNREACHED).sum() > 1]
        if registry.mixes(node) == "sum" and changed:
            return True
        ways = {v: way for v, way in ways.items() if way[at] <= SUM}
        if len(ways) != 1:
            return False
        value = next(iter(ways))
    return False


def through_outputs_by_name(decided: Decided) -> None:
    """The same for any way into an output, where a name says that it is a state."""
    scene = decided.scene
    fits = (scene.levels <= ANY) & scene.said[0][:, None]
    _close_all(decided, fits, f"{THROUGH}, and its name says so")


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
    before = -1
    while before != (before := int(np.count_nonzero(live))):
        live[rows] |= ways[:, live].any(axis=1)
    return all(live[scene.index[name]] for name in found)


@frozen
class _Closed:
    """A set of free exposed outputs that closes."""

    targets: tuple[int, ...]
    widened: frozenset[str]
    """Inputs by which more than the first output came to it."""
    inside: Mask
    """Inputs that reach no other output, where it is cut."""

    def stands(self, decided: Decided) -> bool:
        """Is it still the same, now that more is decided: whatever made it is free. What was not fit to widen it never
        becomes so, since fewer outputs are free."""
        return decided.sure.isdisjoint(self.targets) and self.widened.isdisjoint(decided.pairs)


def _close_all(decided: Decided, fits: Mask, words: str) -> None:
    """Take sets of free outputs that close, the smallest first, for as long as there are any."""
    known: dict[int, _Closed] = {}
    while _close(decided, fits, words, known):
        pass


def _close(decided: Decided, fits: Mask, words: str, known: dict[int, _Closed]) -> bool:
    """Take the smallest set of free outputs that closes: cut there, as many inputs reach nothing else."""
    scene = decided.scene
    free = decided.free() & fits & scene.exposures
    larger: dict[tuple[int, ...], _Closed] = {}
    for k in np.flatnonzero(free.any(axis=0)).tolist():
        if k not in known or not known[k].stands(decided):
            known[k] = _closed(decided, k, free)
        if len(known[k].targets) > 1:
            larger[known[k].targets] = known[k]
        elif _take(decided, known[k], free, words):
            return True
    in_order = sorted(larger.values(), key=lambda one: (len(one.targets), one.targets))
    return any(_take(decided, closed, free, words) for closed in in_order)


def _take(decided: Decided, closed: _Closed, free: Mask, words: str) -> bool:
    """Pair these outputs, where there is one way to, and something is left to feed."""
    scene = decided.scene
    rows, columns = np.nonzero(free[:, closed.targets] & closed.inside[:, None])
    edges = [(scene.inputs[i], closed.targets[k]) for i, k in zip(rows.tolist(), columns.tolist(), strict=True)]
    found = only_matching(edges)
    if found is None or len(found) != len(closed.targets):
        return False
    if words == THROUGH and not _fed(decided, found):
        return False
    if decided.contested(found.items()):
        return False
    left = decided.feeds() - set(found)
    return bool(left or not scene.frames) and decided.settle(dict.fromkeys(found.items(), words), ties=False)


def _closed(decided: Decided, target: int, free: Mask) -> _Closed:
    """One output, and the free exposed ones that its inputs reach beside it, and so on."""
    scene = decided.scene
    closed: Mask = np.arange(len(scene.targets)) == target
    usable = scene.exposures.copy()
    usable[list(decided.sure)] = False
    widened: set[str] = set()
    while True:
        ends = scene.confined({core for k in np.flatnonzero(closed) for core in scene.targets[k].cores})
        beside = ends & ~closed & free[:, closed].any(axis=1, keepdims=True)
        wider = beside.any(axis=1) & ~(beside & ~usable).any(axis=1)
        if not wider.any():
            inside: Mask = np.asarray(~(ends & ~closed).any(axis=1))
            return _Closed(tuple(np.flatnonzero(closed).tolist()), frozenset(widened), inside)
        closed |= beside[wider].any(axis=0)
        widened.update(scene.inputs[i] for i in np.flatnonzero(wider))


def drives(decided: Decided) -> None:
    """A summed element-wise way into an output from which a sure next value is computed, and nothing of the input goes
    past it: the running maximum beside a cell. An input of any length has to say by its name that it is a state: the
    smaller one of two signals looks like a running minimum."""
    scene = decided.scene
    sure = decided.sure
    cut = {core for k in sure for core in scene.targets[k].cores}

    drive = np.array([bool(scene.behind[k] & sure) for k in range(len(scene.targets))], np.bool_)
    past: dict[int, Mask] = {}

    def fits(name: str, k: int) -> bool:
        if k not in past:
            others = np.array([j != k and j not in sure for j in range(len(scene.targets))], np.bool_)
            past[k] = scene.confined(cut | scene.targets[k].cores)[:, others]
        return not past[k][scene.row[name]].any()

    edges = decided.free_edges((scene.sums <= ELEMENTWISE) & drive & scene.sized & ~_contested(decided), fits)
    edges = [edge for edge in edges if _fed(decided, dict([edge])) and not decided.contested([edge])]
    if edges and (decided.feeds() - {name for name, _ in edges} or not scene.frames):
        decided.settle(dict.fromkeys(edges, "it drives a state with what it becomes"))


def twice(decided: Decided) -> None:
    """An output is given twice, and one input of its shape reaches it, not just scaled, or with something added to it: that
    may be a signal. Beside a signal with a time axis, whose end may be wanted twice, a name has to say that it is a
    state."""
    scene = decided.scene
    answers = set[int]().union(*(scene.behind[k] for k in decided.sure))
    given = [len(target.outputs) > 1 and k not in answers for k, target in enumerate(scene.targets)]
    of_more = (scene.levels <= ANY) & ~scene.singles  # what depends on itself alone may be a signal
    changed = (scene.levels > ELEMENTWISE) | ((scene.sums <= ELEMENTWISE) & (scene.levels > SUM))
    of_more &= (changed & scene.sized & scene.frames) | scene.witnesses
    edges = decided.free_edges(of_more & np.array(given, np.bool_))
    for part in components(edges):
        left = decided.feeds() - {name for name, _ in part}
        if left or not scene.frames:
            decided.settle(dict.fromkeys(part, "given twice"), ties=False)
