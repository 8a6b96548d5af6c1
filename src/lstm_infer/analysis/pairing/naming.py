"""Evidence of names: one that says that it holds a state, where the flow does not speak against it."""

from __future__ import annotations

from ..names import follows, says_state
from .decided import Decided
from .paths import ANY, ELEMENTWISE
from .scene import Scene

__all__ = ["by_names", "informs", "scales"]

SAYS = "its name says so"


def scales(scene: Scene, name: str, target: int) -> bool:
    """Is the target this input, scaled, and nothing added to it: a mask, a gain."""
    return scene.level(name, target) <= ELEMENTWISE < scene.summed(name, target)


def rhyming(scene: Scene, name: str, target: int) -> bool:
    """Do the names rhyme, and one of them says that it holds a state."""
    return scene.rhymes(name, target) and scene.witnessed(name, target)


def both(scene: Scene, name: str, target: int) -> bool:
    """Do both names say it, on a way that does more than to scale."""
    return scene.both_say(name, target) and not scales(scene, name, target)


def by_names(decided: Decided) -> None:
    """Names that rhyme and say; both say; the input's alone, where another value is added to it element by element and
    what comes out goes on, or it drives no sure state."""
    scene = decided.scene
    for says in (rhyming, both):
        decided.settle(
            dict.fromkeys(decided.free_edges(lambda n, k, f=says: scene.level(n, k) <= ANY and f(scene, n, k)), SAYS)  # type: ignore[misc]
        )

    def alone(name: str, k: int) -> bool:
        summed = scene.summed(name, k) <= ELEMENTWISE and says_state(name)
        return summed and (scene.exposed(k) or not drives_sure(decided, name))

    decided.settle(dict.fromkeys(decided.free_edges(alone), SAYS))


def drives_sure(decided: Decided, name: str) -> bool:
    """Does an input go into a sure next value."""
    return any(decided.scene.reaches(name, k) for k in decided.sure)


def informs(decided: Decided, name: str, target: int) -> bool:
    """Do names tell states from answers: every sure pair's output says or rhymes, and this pair's does not."""
    scene = decided.scene

    def tells(n: str, k: int) -> bool:
        place = scene.place(n, k).output
        return scene.rhymes(n, k) or says_state(place) or follows(n, place)

    return bool(decided.pairs) and all(tells(n, k) for n, k in decided.pairs.items()) and not tells(name, target)
