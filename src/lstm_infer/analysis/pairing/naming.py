"""Evidence of names: one that says that it holds a state, where the flow does not speak against it."""

from __future__ import annotations

import numpy as np

from ..names import says_state
from .decided import Decided
from .grid import Mask
from .paths import ANY, ELEMENTWISE
from .scene import Scene

__all__ = ["by_names", "informs", "scales"]

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
    for says in (scene.rhyming & scene.witnesses, inputs[:, None] & outputs & more):
        decided.settle(dict.fromkeys(decided.free_edges(reached & says), SAYS))
    summed = (scene.sums <= ELEMENTWISE) & inputs[:, None]
    alone = summed & (scene.exposures | ~drives_sure(decided)[:, None])
    decided.settle(dict.fromkeys(decided.free_edges(alone), SAYS))


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
