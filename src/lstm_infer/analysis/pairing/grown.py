"""What is left undone outside of a file: a cache that leaves longer than it came in, half of a cell's state."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...errors import StateError
from ...graph.ir import Port
from ...ops import carries
from ..names import rhymes, says_state
from .decided import Decided
from .paths import only_step
from .scene import Scene
from .targets import leaves, root

__all__ = ["refuse_grown", "refuse_half"]


def refuse_grown(decided: Decided, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """An output joined of an input that is left, whole, and something else, so that it is longer: whoever calls the model
    cuts it, or lets it grow. Their names say that it is the input's next value, or nothing else is carried and something else
    is fed: what is joined to the only input is made of that input, a signal beside what is made of it.

    Raises
    ------
    StateError
        There is one.
    """
    scene, free = decided.scene, set(decided.free_inputs())
    found = [(a, b) for a in inputs if a.name in free for b in outputs if _longer(scene, a.name, b.name)]
    if not found:
        return
    before, after = max(found, key=lambda two: (_named(scene, two[0], two[1]), prod(scene.fact(two[0].name).shape)))
    if _named(scene, before, after) or (scene.frames and not decided.pairs and len(free) > 1):
        raise StateError(
            f"the sizes of input {_shown(before)} and output {_shown(after)} differ: the output is the input joined with "
            "more, and nothing in the file cuts it for the next call; a state keeps its size: cut the output in the model to "
            "what the next call takes and export it again, or call run() and carry it yourself"
        )


def _shown(port: Port) -> str:
    shape = ", ".join("?" if n is None else str(n) for n in port.shape or ())
    return f"{port.name!r} [{shape}]"


def _named(scene: Scene, before: Port, after: Port) -> bool:
    return rhymes(before.name, after.name) and (says_state(before.name) or says_state(after.name))


def _longer(scene: Scene, name: str, output: str) -> bool:
    """Does the output hold the whole input and something else, along one axis."""
    one, other = scene.fact(name), scene.fact(output)
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return False
    grown = [n - m for m, n in zip(one.shape, other.shape, strict=True) if m != n]
    held = leaves(output, scene.makers)
    whole = prod(other.shape) == sum(prod(scene.fact(value).shape) for value in held)  # nothing is cut off
    return len(grown) == 1 and grown[0] > 0 and name in held and len(held) > 1 and whole


def refuse_half(decided: Decided) -> None:
    """A cell of which one state is carried and the other is an input that no output holds the next value of.

    Raises
    ------
    StateError
        There is one.
    """
    scene, pairs = decided.scene, decided.pairs
    for node in scene.walked.nodes if scene.frames else ():
        if not carries.carries(node) or not only_step(node, scene.walked):
            continue
        starts = [
            root(node.inputs[i], scene.makers, scene.walked)
            for _, i, _ in carries.states(node)
            if i < len(node.inputs) and node.inputs[i]
        ]
        carried = [name for name in starts if name in pairs]
        left = [name for name in starts if name in scene.row and name not in pairs]
        if carried and left:
            raise StateError(
                f"{node} carries {carried[0]!r}, but no output holds the next value of {left[0]!r}, the other half of its "
                "state: export the model with that output too"
            )
