"""The other side of `verify`: what it says of whole runs, and of streams when its states are carried by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..analysis.spec import StreamSpec
from ..drive.compare import compare
from ..drive.driver import Driver, constant_feeds
from ..drive.inputs import Feeds, Inputs
from ..errors import LstmInferError
from ..frozen import frozen
from ..model import Model
from ..native.container import native
from ..ops import carries
from .exposed import Exposed, expose
from .peer import Reference

__all__ = ["Hand", "OtherSide", "by_hand"]

HAIRS = 8
"""How often the other side is asked beside a point at which it says something else."""
UNROLLED_AT_MOST = 256
"""Longest signal that is looked at for the length at which a loop was unrolled."""

FROZEN = "the file has other sizes frozen in, which only the engine opens"


@frozen
class Hand:
    """The other side, driven by hand.

    Attributes
    ----------
    run : callable
    carried : dict of input to the output that holds its next value
    first : dict of input to its first value
    labels : dict of input to the state of the stream that it is
    """

    run: Callable[[Feeds], Feeds | None]
    carried: Mapping[str, str]
    first: Feeds
    labels: Mapping[str, str]


@frozen
class _Opened:
    """A file with its states exposed, and the other side with it, and with what tells how they begin."""

    file: Exposed
    model: Reference
    seeding: Reference


class OtherSide:
    """onnxruntime, or who answers in its place, beside one model.

    Attributes
    ----------
    reference : Reference
    frozen : (int or None, int or None)
        The numbers of steps and signals that the file was made at.
    exact : bool
        It has the same weights: then who is right is asked about inputs a hair apart.
    ties : int
        How often it said two things of inputs a hair apart, one of them what we say.
    """

    def __init__(self, source: Any, model: Model, inputs: Inputs, spec: StreamSpec | LstmInferError, seed: int) -> None:
        self.seed, self.ties, self.exact = seed, 0, True
        self.reference = Reference(source, inputs.roles.graph, constant_feeds(inputs))
        self.frozen = frozen_sizes(model, inputs)
        self._mended = bool(model.repaired) or unrolled_length(model) is not None
        self.exposed = self._exposed(source, inputs, spec)

    def _exposed(self, source: Any, inputs: Inputs, spec: StreamSpec | LstmInferError) -> _Opened | None:
        """The file with its hidden states as ports, where what a stream carries can be found in it."""
        if not isinstance(spec, StreamSpec) or not spec.carried or not by_hand(spec) or native(source) is not None:
            return None
        graph = inputs.roles.graph
        made = expose(source, graph, spec, loops=not inputs.opens[0])
        if made is None:
            return None
        sides = [Reference(one, graph, self.reference.constants) for one in (made.model, made.seeding)]
        return _Opened(made, *sides)

    def run(self, feeds: Feeds, T: int, B: int, reference: Reference | None = None) -> Feeds | None:
        """The reference's outputs. A repaired file means at its own sizes alone what it says: at others a frozen
        Reshape mixes time with batch, and no peer complains."""
        if self._mended:
            for size, frozen in zip((T, B), self.frozen, strict=True):
                if frozen is not None and size != frozen:
                    self.reference.refused[FROZEN] += 1
                    return None
        return (reference or self.reference).run(feeds)

    def judged(self, run: Callable[[Feeds], Feeds | None], feeds: Feeds, got: Mapping[str, Any], want: Feeds) -> Feeds:
        """What the peer says; where that is not what we say, but what it says of inputs a hair beside, that: then a
        rounding decides between two integers, and neither side is wrong."""
        if not self.exact or _agree(got, want):
            return want
        rng = np.random.default_rng(self.seed)
        for _ in range(HAIRS):
            other = run({name: _beside(rng, value) for name, value in feeds.items()})
            if other is not None and _agree(got, other):
                self.ties += 1
                return other
        return want

    def hand(self, drive: Driver, feeds: Feeds, begin: Mapping[str, Any], B: int, n: int) -> Hand | None:
        """How the peer is driven in calls of n steps each."""
        run = partial(self.run, T=n, B=B)
        hand = Hand(
            run, drive.inputs.states, {s: feeds[s] for s in drive.inputs.states}, {s: s for s in drive.inputs.states}
        )
        if self.exposed is None:
            return hand
        exposed = self.exposed.file
        side = {name: feeds[name] for name in drive.spec.side}
        fed = {**side, **hand.first, **drive.step_feeds(feeds, 0, n)}
        hidden = exposed.first(partial(run, reference=self.exposed.seeding), fed, begin)
        if hidden is None:
            return None
        return Hand(
            partial(run, reference=self.exposed.model),
            {**hand.carried, **exposed.states},
            {**hand.first, **hidden},
            {**hand.labels, **exposed.labels},
        )


def _agree(got: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Is all that both sides have alike."""
    return all(compare(value, want[name])[1] <= 1 for name, value in got.items() if name in want)


def _beside(rng: np.random.Generator, value: Any) -> Any:
    """Numbers that differ from these by a few roundings, as those of two sides do inside a model."""
    if value.dtype.kind != "f":
        return value
    hair = np.finfo(value.dtype).eps * rng.uniform(-16, 16, value.shape)
    return np.asarray(value * (1 + hair)).astype(value.dtype)


def by_hand(spec: StreamSpec) -> bool:
    """Do calls of one step, the states fed back, give what a stream gives: it keeps no steps of its own."""
    return spec.steady and not spec.windows and not spec.lens and spec.rate == 1 and not spec.lag


def frozen_sizes(model: Model, inputs: Inputs) -> tuple[int | None, int | None]:
    """The sizes that the file was made at: declared, or written into what the engine had to repair or to roll up."""
    found = list(inputs.declared)
    for place, word in enumerate(("time", "batch")):
        for text in model.repaired if found[place] is None else ():
            said = re.search(rf"\b{word} was frozen at (\d+)", text)
            found[place] = int(said[1]) if said and f" x {word} was" not in text else found[place]
    if found[0] is None and inputs.opens[0]:
        found[0] = unrolled_length(model)
    return found[0], found[1]


def unrolled_length(model: Model) -> int | None:
    """The length of a signal at which every recurrence that was unrolled over time takes its steps."""
    said = (re.match(r"(.*): unrolled over (\d+) steps: rolled", text) for text in model.rewritten)
    steps = {name: int(one[2]) for one in said if one for name in (one[1], f"{one[1]}/rolled")}
    fits: dict[int, bool] = {}
    for T in range(1, UNROLLED_AT_MOST) if steps else ():
        try:
            walked = model._roles.walk(T, model._roles.analysis_sizes()[1])
        except LstmInferError:
            continue
        nodes = [node for node in walked.nodes if node.name in steps and carries.carries(node)]
        more = [walked.facts[n.inputs[i]].shape[a] - steps[n.name] for n in nodes for i, a in carries.runs_over(n)]
        fits[T] = not any(more)
        if max(more, default=1) > 0 or (len(fits) > 3 and all(fits.values())):  # too long, or not over time
            break
    return None if all(fits.values()) else next((T for T, fit in fits.items() if fit), None)
