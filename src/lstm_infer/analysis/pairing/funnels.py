"""Evidence that lies in the shape of the flow: all that an input does goes through one output."""

from __future__ import annotations

from collections.abc import Callable

from ..names import says_state
from .decided import Decided
from .matching import components, only_matching
from .paths import ANY, ELEMENTWISE, SUM

__all__ = ["drives", "through_outputs", "through_outputs_by_name", "twice"]

Edge = tuple[str, int]


def through_outputs(decided: Decided) -> None:
    """Another value is added to the input element by element, another output is computed from what comes out, and the
    input does nothing else: a leaky sum, an envelope, a diagonal recurrence."""
    scene = decided.scene

    def fits(name: str, k: int) -> bool:
        plain = scene.level(name, k) <= SUM
        return scene.summed(name, k) <= ELEMENTWISE and (not plain or scene.witnessed(name, k))

    while _close(decided, fits, "every output goes through it"):
        pass


def through_outputs_by_name(decided: Decided) -> None:
    """The same for any way into an output, where a name says that it is a state."""
    scene = decided.scene
    while _close(
        decided,
        lambda name, k: scene.reaches(name, k) and (says_state(name) or scene.both_say(name, k)),
        "every output goes through it, and its name says so",
    ):
        pass


def _close(decided: Decided, fits: Callable[[str, int], bool], words: str) -> bool:
    """Take the smallest set of free outputs that closes: cut there, as many inputs reach nothing else."""
    scene = decided.scene
    free = [k for k in decided.free_targets() if scene.exposed(k)]
    edges = [(n, k) for n, k in decided.free_edges(fits) if k in free]
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

    def fits(name: str, k: int) -> bool:
        if scene.summed(name, k) > ELEMENTWISE or not scene.behind[k] & sure:
            return False
        ends = scene.confined(cut | scene.targets[k].cores)[name]
        return ends <= sure | {k}

    edges = decided.free_edges(fits)
    if edges and (decided.feeds() - {name for name, _ in edges} or not scene.frames):
        decided.settle(dict.fromkeys(edges, "it drives a state with what it becomes"))


def twice(decided: Decided) -> None:
    """An output is given twice, and one input of its shape reaches it."""
    scene = decided.scene
    answers = set[int]().union(*(scene.behind[k] for k in decided.sure))
    edges = decided.free_edges(
        lambda name, k: len(scene.targets[k].outputs) > 1 and k not in answers and scene.level(name, k) <= ANY
    )
    edges = [edge for edge in edges if not scene.alone(*edge)]  # what depends on itself alone may be a signal
    for part in components(edges):
        left = decided.feeds() - {name for name, _ in part}
        if left or not scene.frames:
            decided.settle(dict.fromkeys(part, "given twice"), ties=False)
