"""Which graph outputs hold the next value of which state inputs: decided on evidence, one step after the other.

First what the flow itself shows, then the shape of the flow, then names that say what they hold. Names that merely rhyme
break ties among pairs that have the evidence, and say so. What is left is a signal, or refused with the candidates: a
wrong pairing is worse than a refusal.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..errors import StateError
from ..graph.ir import Port
from ..walk.walk import Walk
from .names import affinity
from .pairing.decided import Decided
from .pairing.flow import caches, counters, delays, recurrences
from .pairing.funnels import drives, through_outputs, through_outputs_by_name, twice
from .pairing.naming import by_names
from .pairing.paths import ANY
from .pairing.rest import undecided
from .pairing.scene import NextState, Scene, set_scene
from .pairing.targets import Place, bare

__all__ = ["Pairs", "pair_states"]

STEPS = (
    recurrences, caches, counters, delays, through_outputs, through_outputs_by_name, drives, twice, by_names,
)  # fmt: skip
"""In the order of their trust."""

MOST_SHOWN = 6
"""So many candidates are shown in an error, for so many inputs."""


class Pairs(dict[str, str]):
    """State input to the output that holds its next value; `next`: where in it, and what shows that it does."""

    def __init__(self, found: Mapping[str, NextState]) -> None:
        super().__init__({name: state.place.output for name, state in found.items()})
        self.next = dict(found)


def pair_states(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    walked: Walk,
    *,
    streamed: Mapping[str, int],
    given: Mapping[str, str] | None,
    sequences: Collection[str] = (),
) -> Pairs:
    """State input to output.

    Parameters
    ----------
    inputs, outputs : ports of the graph, in its order
    walked : a walk at sizes at which a state has the same shape going in and coming out, up to axes of 1
    streamed : inputs with a time axis; never states
    given : pairs the caller fixed (`load(states=)`); nothing else is paired then
    sequences : inputs along which some recurrence runs: states only where sums, products and moves pass them on

    Raises
    ------
    StateError
        Several pairings fit and not even names tell them apart.
    """
    fed = [port.name for port in inputs if walked.facts[port.name].const is None]
    scene = set_scene(fed, [port.name for port in outputs], walked, streamed, sequences)
    if given is not None:
        return Pairs(_given(given, scene, streamed))
    decided = Decided(scene)
    for step in STEPS:
        step(decided)
    open_edges = undecided(decided)
    if open_edges:
        raise _refusal(decided, open_edges)
    if decided.named:
        warnings.warn(
            f"states were paired with outputs by their names: {decided.named}; check it, or say it with "
            "load(..., states={...})",
            stacklevel=6,
        )
    return Pairs(decided.result())


def _given(given: Mapping[str, str], scene: Scene, streamed: Collection[str]) -> dict[str, NextState]:
    """The pairs that the caller fixed, where they can be pairs."""
    found = {}
    for name, out in given.items():
        fact, other = scene.fact(name), scene.fact(out)
        if name in streamed:
            raise StateError(f"states: {name!r} has the time axis and is streamed; it cannot be a state")
        if fact.const is not None:
            raise StateError(f"states: {name!r} was made a constant; it cannot be a state")
        parts = [p for k, t in enumerate(scene.targets) for p in t.places if p.output == out and p.part
                 if scene.fits(name, k)]  # fmt: skip
        whole = bare(fact.shape) == bare(other.shape) and fact.dtype == other.dtype
        if not whole and not parts:
            raise StateError(
                f"states: {out!r} ({other.dtype}{list(other.shape)}) cannot be the next value of {name!r} "
                f"({fact.dtype}{list(fact.shape)})"
            )
        found[name] = Place(out) if whole else _part(name, out, scene, given, parts)
    if len(set(found.values())) != len(found):
        raise StateError(f"states: one output is the next value of two states in {dict(given)}")
    return {name: NextState(place, "given by states=") for name, place in found.items()}


def _part(name: str, out: str, scene: Scene, given: Mapping[str, str], parts: Sequence[Place]) -> Place:
    """The part of an output that holds several states: the one that the flow shows, else as they stand in states=."""
    decided = Decided(scene)
    for step in STEPS:
        step(decided)
    flow = decided.result().get(name)
    if flow is not None and flow.place in parts:
        return flow.place
    mine = [other for other in given if given[other] == out]
    if len(mine) != len(parts):
        raise StateError(
            f"states: {out!r} is joined of {len(parts)} values of the shape of {name!r}; name the inputs of all of them, "
            "in their order"
        )
    return parts[mine.index(name)]


def _ranked(scene: Scene, name: str, targets: Iterable[int]) -> list[str]:
    """The outputs that may hold the next value of an input: those of like names first, then those of the best way, among
    which a delay has none to take."""
    found = {}
    for k in targets:
        out, level = scene.place(name, k).output, scene.level(name, k)
        found[out] = (-affinity(name, out), level if level <= ANY else 0, out)
    return sorted(found, key=lambda out: found[out])


def _refusal(decided: Decided, open_edges: Mapping[str, Iterable[int]]) -> StateError:
    """The error that shows what is open, and the candidates filled in."""
    scene = decided.scene
    shown, filled = [], {name: state.place.output for name, state in decided.result().items()}
    for name in [one for one in scene.inputs if one in open_edges]:
        outs = _ranked(scene, name, open_edges[name])
        more = f" and {len(outs) - MOST_SHOWN} more" if len(outs) > MOST_SHOWN else ""
        shown.append(f"{name!r} -> one of {outs[:MOST_SHOWN]}{more}" if len(outs) > 1 else f"{name!r} -> {outs[0]!r}")
        free = [out for out in outs if out not in filled.values()]
        filled |= {name: free[0]} if free else {}
    if len(shown) > MOST_SHOWN:
        shown[MOST_SHOWN:] = [f"{len(shown) - MOST_SHOWN} more"]
    example = ", ".join(f'"{name}": "{out}"' for name, out in filled.items())
    return StateError(
        f"the states cannot be paired with outputs by data flow or names: {'; '.join(shown)}; say which are states and "
        f"what holds their next values, such as load(..., states={{{example}}}), without those that are signals"
    )
