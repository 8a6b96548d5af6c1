"""Evidence of names: one that says that it holds a state, where the flow does not speak against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..names import says_state
from .decided import Decided
from .grid import Mask
from .matching import Edge
from .paths import ANY, ELEMENTWISE
from .scene import Scene

__all__ = ["answers", "by_names", "by_stems", "informs", "scales"]

SAYS = "its name says so"


def scales(scene: Scene) -> Mask:
    """Is the target this input, scaled, and nothing added to it: a mask, a gain."""
    found: Mask = (scene.levels <= ELEMENTWISE) & (scene.sums > ELEMENTWISE)
    return found


def by_names(decided: Decided) -> None:
    """Names that rhyme and say; both say; the input's alone, where another value is added to it element by element and
    what comes out goes on, or it drives no sure state."""
    scene = decided.scene
    inputs, outputs = scene.said
    reached, more = scene.levels <= ANY, ~scales(scene)
    summed = scene.sums <= ELEMENTWISE
    fed_back = answers(decided) & drives_sure(decided)[:, None] & ~summed & scene.former
    for says in (scene.rhyming & scene.witnesses & ~fed_back, inputs[:, None] & outputs & more):
        _take(decided, decided.free_edges(reached & says))
    summed &= inputs[:, None]
    alone = summed & (scene.exposures | ~drives_sure(decided)[:, None])
    _take(decided, decided.free_edges(alone))


def _take(decided: Decided, edges: Sequence[Edge]) -> None:
    """Take what names say, where something is left to feed: what drives a sure state is fed, whatever it is called."""
    edges = [edge for edge in edges if not decided.contested([edge])]
    if decided.scene.frames and decided.pairs and not decided.feeds() - {name for name, _ in edges}:
        driving = drives_sure(decided)
        edges = [(name, k) for name, k in edges if not driving[decided.scene.row[name]]]
    decided.settle(dict.fromkeys(edges, SAYS))


def by_stems(decided: Decided) -> None:
    """Where the flow has one reading and the names another: the names, if each input that is called after an output, or
    an output after it, has one that it goes into, with another value added to it element by element."""
    scene = decided.scene
    if not decided.doubted:
        return
    called = scene.partners & decided.free()
    found = [(scene.inputs[i], k) for i, k in np.argwhere(called).tolist()]
    for name, k in found:
        decided.open.setdefault(name, set()).add(k)
    single = called.sum(axis=0).max(initial=0) == 1 == called.sum(axis=1).max(initial=0)
    summed = all(scene.sums[scene.row[name], k] <= ELEMENTWISE for name, k in found)
    if single and summed and (decided.feeds() - {name for name, _ in found} or not scene.frames):
        decided.named |= {name: scene.place(name, k).output for name, k in found}
        decided.settle(
            dict.fromkeys(found, "its name goes with it, where the flow may be read in several ways"), ties=False
        )


def answers(decided: Decided) -> Mask:
    """The targets that are computed from what holds a sure next value."""
    behind = set[int]().union(*(decided.scene.behind[k] for k in decided.sure))
    return np.array([k in behind for k in range(len(decided.scene.targets))], np.bool_)


def drives_sure(decided: Decided) -> Mask:
    """The inputs that go into a sure next value."""
    found: Mask = np.asarray((decided.scene.levels[:, sorted(decided.sure)] <= ANY).any(axis=1))
    return found


def informs(decided: Decided, asked: Mask) -> Mask:
    """Do names tell states from answers: every sure pair's output says or rhymes, and that of a pair of `asked` does
    not."""
    scene = decided.scene

    def tells(name: str, k: int) -> bool:
        return scene.rhymes(name, k) or says_state(scene.place(name, k).output)  # who follows rhymes

    told = np.zeros_like(asked)
    if decided.pairs and all(tells(name, k) for name, k in decided.pairs.items()):
        for i, k in np.argwhere(asked & ~scene.rhyming).tolist():
            told[i, k] = not tells(scene.inputs[i], k)
    return told
