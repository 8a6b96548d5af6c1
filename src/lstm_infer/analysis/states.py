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
from .pairing.grown import refuse_grown, refuse_half
from .pairing.naming import by_names, by_stems
from .pairing.paths import ANY
from .pairing.readings import readings
from .pairing.rest import undecided
from .pairing.scene import NextState, Scene, set_scene
from .pairing.targets import Place, bare

__all__ = ["OpenStatesError", "Pairs", "pair_states"]

STEPS = (
    recurrences, caches, counters, delays, through_outputs, through_outputs_by_name, drives, twice, by_names,
    by_stems,
)  # fmt: skip
"""In the order of their trust."""

MOST_SHOWN = 6
"""So many candidates are shown in an error, for so many inputs."""
MOST_READINGS, MOST_TRIED = 1, 8
"""So many whole readings are shown in an error, and so many tried."""


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
    whole: Collection[str] = (),
) -> Pairs:
    """State input to output.

    Parameters
    ----------
    inputs, outputs : ports of the graph, in its order
    walked : a walk at sizes at which a state has the same shape going in and coming out, up to axes of 1
    streamed : inputs with a time axis; never states
    given : pairs the caller fixed (`load(states=)`); nothing else is paired then
    sequences : inputs along which some recurrence runs: states only where sums, products and moves pass them on
    whole : outputs no part of which is a state

    Raises
    ------
    OpenStatesError
        Several pairings fit and not even names tell them apart.
    """
    fed = [port.name for port in inputs if walked.facts[port.name].const is None]
    open_axes = {port.name: sum(not isinstance(n, int) for n in port.shape or ()) for port in inputs}
    of_any_length = [name for name in fed if open_axes[name] > 1]
    scene = set_scene(fed, of_any_length, [port.name for port in outputs], walked, streamed, sequences, whole)
    if given is not None:
        return Pairs(_given(given, scene, streamed))
    decided = _decided(scene)
    _give_back(decided)
    refuse_grown(decided, inputs, outputs)
    refuse_half(decided)
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


def _give_back(decided: Decided) -> None:
    """Where nothing would be left to feed, an input whose next value would be joined of several is no state: the caller
    joins a frame and the state, and gets the answer joined with the next one."""
    if decided.scene.frames and not decided.feeds():
        for name, k in [*decided.pairs.items()]:
            if len(decided.scene.targets[k].cores) > 1:
                del decided.pairs[name]


def _decided(scene: Scene) -> Decided:
    """What is sure by the evidence."""
    decided = Decided(scene)
    for step in STEPS:
        step(decided)
    return decided


def _given(given: Mapping[str, str], scene: Scene, streamed: Collection[str]) -> dict[str, NextState]:
    """The pairs that the caller fixed, where they can be pairs."""
    found = {}
    for name, out in given.items():
        fact, other = scene.fact(name), scene.fact(out)
        if name in streamed:
            raise StateError(f"states: {name!r} has the time axis and is streamed; it cannot be a state")
        if fact.const is not None:
            raise StateError(f"states: {name!r} was made a constant; it cannot be a state")
        row = scene.row.get(name)
        held = [k for k, t in enumerate(scene.targets) if row is not None and scene.holding[row, k]]
        parts = [p for k in held for p in scene.targets[k].places if p.output == out and p.part]
        if all(not scene.fits(name, k) for k in held if out in scene.targets[k].outputs):
            parts = []  # the input as it came in is all that it may be
        whole = bare(fact.shape) == bare(other.shape) and fact.dtype == other.dtype
        if not whole and not parts:
            raise StateError(
                f"states: {out!r} ({other.dtype}{list(other.shape)}) cannot be the next value of {name!r} "
                f"({fact.dtype}{list(fact.shape)})"
            )
        found[name] = Place(out) if whole else _part(name, out, scene, given, parts)
    if len(set(found.values())) != len(found):
        raise StateError(f"states: one output is the next value of two states in {dict(given)}")
    if scene.frames and found.keys() >= set(scene.fed):
        sure = _decided(scene).pairs
        if signals := [name for name in found if name not in sure and not _follows(scene, name, given[name])]:
            raise StateError(
                f"states: {dict(given)} leaves no input to be fed; nothing in the graph says that {', '.join(map(repr, signals))}"
                " is a state: leave out what is fed from call to call"
            )
    return {name: NextState(place, "given by states=") for name, place in found.items()}


def _follows(scene: Scene, name: str, out: str) -> bool:
    """Does a name say that an output is what comes after an input."""
    held = [k for k, target in enumerate(scene.targets) if out in target.outputs]
    return name in scene.row and any(scene.rhymes(name, k) and scene.witnessed(name, k) for k in held)


def _part(name: str, out: str, scene: Scene, given: Mapping[str, str], parts: Sequence[Place]) -> Place:
    """The part of an output that holds several states: the one that the flow shows, else as they stand in states=."""
    flow = _decided(scene).result().get(name)
    if flow is not None and flow.place in parts:
        return flow.place
    mine = [other for other in given if given[other] == out]
    if len(mine) != len(parts):
        raise StateError(
            f"states: {out!r} is joined of {len(parts)} values of the shape of {name!r}; name the inputs of all of them, "
            "in their order"
        )
    return parts[mine.index(name)]


class OpenStatesError(StateError):
    """What no evidence decides, with the readings that are to be tried and shown."""

    def __init__(self, told: str, fed: Sequence[str], found: Sequence[Mapping[str, str]]) -> None:
        shown = [_such_as(fed, one) for one in found[:MOST_READINGS]]
        such = ", such as " + " or ".join(shown) if shown else " by load(..., states={input: output})"
        super().__init__(told + such)
        self.told, self.fed, self.readings = told, fed, found

    def of(self, found: Sequence[Mapping[str, str]]) -> OpenStatesError:
        """The same, showing these readings."""
        return OpenStatesError(self.told, self.fed, found)


def _such_as(fed: Sequence[str], one: Mapping[str, str]) -> str:
    pairs = ", ".join(f'"{name}": "{out}"' for name, out in one.items())
    left = [repr(name) for name in fed if name not in one]
    return f"load(..., states={{{pairs}}}), which leaves {', '.join(left)} to be fed"


def _refusal(decided: Decided, open_edges: Mapping[str, set[int]]) -> OpenStatesError:
    """The error that shows what is open, and the candidates filled in."""
    scene, meant = decided.scene, readings(decided, open_edges)
    edges = {name: set(targets) for name, targets in open_edges.items()}
    for name, k in meant[0].items() if meant else ():
        edges.setdefault(name, set()).add(k)
    shown = []
    for name in [one for one in scene.inputs if one in edges]:
        outs = _ranked(scene, name, edges[name])
        more = f" and {len(outs) - MOST_SHOWN} more" if len(outs) > MOST_SHOWN else ""
        shown.append(f"{name!r} -> one of {outs[:MOST_SHOWN]}{more}" if len(outs) > 1 else f"{name!r} -> {outs[0]!r}")
    if len(shown) > MOST_SHOWN:
        shown[MOST_SHOWN:] = [f"{len(shown) - MOST_SHOWN} more"]
    return OpenStatesError(
        f"the states cannot be paired with outputs by data flow or names: {'; '.join(shown)}; some of them may be signals: "
        "say which are states and what holds their next values",
        [name for name in scene.fed if scene.fact(name).shape],
        [_filled(decided, one) for one in meant[:MOST_TRIED]],
    )


def _filled(decided: Decided, one: Mapping[str, int]) -> dict[str, str]:
    """The sure pairs and those of a reading, by names, in the order of the inputs."""
    scene, sure = decided.scene, decided.result()
    found = {name: state.place.output for name, state in sure.items()}
    found |= {name: scene.place(name, k).output for name, k in one.items()}
    return {name: found[name] for name in scene.inputs if name in found}


def _ranked(scene: Scene, name: str, targets: Iterable[int]) -> list[str]:
    """The outputs that may hold the next value of an input: those of like names first, then those of the best way, among
    which a delay has none to take."""
    found = {}
    for k in targets:
        out, level = scene.place(name, k).output, scene.level(name, k)
        found[out] = (-affinity(name, out), level if level <= ANY else 0, out)
    return sorted(found, key=lambda out: found[out])
