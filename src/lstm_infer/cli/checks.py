"""The comparisons of `verify`: whole runs, streams in pieces, and streams step by step, at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..analysis.spec import StreamSpec
from ..drive.compare import Loose
from ..drive.driver import Driver, as_state, named, one_or_all
from ..drive.inputs import Feeds, Inputs, settings, spec_or_error
from ..errors import LstmInferError, ShapeError, StateError
from ..model import Model
from ..ops import registry
from ..stream import Stream
from .report import Rows, VerifyReport
from .sides import OtherSide, by_hand

__all__ = ["Check"]

LENGTHS = (1, 2, 7, 20)
BATCHES = (1, 3)
STREAMED = 83
"""Steps of a streamed signal at least: longer than the largest block (64), and a sum of all block sizes."""
FRAMES = 12


class Check:
    """One run of `verify`."""

    def __init__(self, source: Any, model: Model, seed: int, say: Callable[[str], None]) -> None:
        self.source, self.model, self.seed, self.say = source, model, seed, say
        self.inputs = Inputs(model)
        self.spec = spec_or_error(model)
        self.other = OtherSide(source, model, self.inputs, self.spec, seed)
        self.loose = Loose.of(model)
        self.other.exact = self.loose is None
        self.rows = Rows(self.loose)
        self.found = VerifyReport(isa=model.isa, seed=seed, allowed=str(self.loose or ""))
        self.setting = ""

    def report(self, n_seeds: int) -> VerifyReport:
        """Do it all."""
        lengths, batches = self._sizes()
        for inputs in settings(self.model):
            self.inputs = inputs
            self.setting = "".join(f", {name}={value}" for name, value in inputs.chosen.items())
            self._choose_sign(self.other.frozen[0] or lengths[-1], self.other.frozen[1] or batches[0])
            for seed in range(self.seed, self.seed + n_seeds):
                rng = np.random.default_rng(seed)
                self.say(f"seed {seed}{self.setting}: whole")
                for T in lengths:
                    for B in batches:
                        self.whole(rng, T, B, seed)
                for B in batches:
                    self.say(f"seed {seed}{self.setting}: streamed, batch {B}")
                    self.streams(rng, B, seed)
        return self._finish()

    def _sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        open_time, open_batch = self.inputs.opens
        frozen_T, frozen_B = self.other.frozen  # onnxruntime may insist on what is open to us
        return (
            _with(LENGTHS, frozen_T) if open_time else (self.inputs.roles.time_size or 1,),
            _with(BATCHES, frozen_B) if open_batch else (self.inputs.roles.batch_size or 1,),
        )

    def _finish(self) -> VerifyReport:
        found = self.found
        found.rows = self.rows.sorted()
        found.ok = all(row.ok for row in found.rows)
        found.missing, found.ties = list(self._missing()), self.other.ties
        found.not_comparable = dict(self.other.reference.refused)
        found.reference, found.refusals = dict(self.other.reference.answered), dict(self.other.reference.refusals)
        return found

    def _missing(self) -> Iterator[str]:
        """What was not compared, though it should have been."""
        for output in self.model.outputs:
            if not self.rows.told("whole", output.name):
                yield f"output {output.name!r} of a whole run, with anybody's"
        spec = self.spec
        if not isinstance(spec, StreamSpec):
            return
        for name in (output.name for output in spec.outputs):
            if not self.rows.told("split", name):
                yield f"output {name!r} of a stream in pieces, with that of a run"
            hidden = any(state.kind != "input" for state in spec.states)
            alone = hidden and (spec.stepwise or not self.inputs.opens[0])
            if alone and by_hand(spec) and not self.rows.told("stepped", name):
                yield f"output {name!r} of a stream, with steps by hand: a run has other scales, or one step"

    def _choose_sign(self, T: int, B: int) -> None:
        """Numbers of both signs, unless the peer makes of them something that is no number."""
        kept = [counter.copy() for counter in self.other.reference.counters]
        want = self.other.reference.run(self.inputs.draw(np.random.default_rng(self.seed), T, B))
        self.inputs.positive = want is not None and any(
            value.dtype.kind == "f" and not np.isfinite(value).all() for value in want.values()
        )
        for counter, before in zip(self.other.reference.counters, kept, strict=True):
            counter.clear()
            counter.update(before)

    def whole(self, rng: np.random.Generator, T: int, B: int, seed: int) -> None:
        """`Model.run` against the peer."""
        feeds = self.inputs.draw(rng, T, B)
        run = partial(self.other.run, T=T, B=B)
        want = run(feeds)
        if want is None:
            return
        where = self._where(T, B, seed)
        try:
            got = self.model.run(feeds)
        except LstmInferError as error:
            longest = self.inputs.draw(np.random.default_rng(seed), self._sizes()[0][-1], B)
            empty = any(
                not value.size for value in want.values()
            )  # what onnx's evaluator makes of a window that does not fit
            if isinstance(error, ShapeError) and (empty or self.other.reference.doubts(feeds, longest)):
                self.other.reference.refused[f"only onnxruntime takes it: {error}"] += 1
                return
            self.rows.wrong("whole", "", where, f"{type(error).__name__}: {error}")
            return
        for name, value in self.other.judged(run, feeds, got, want).items():
            self.rows.compare("whole", name, got.get(name), value, where)
            self.found.compared += 1

    def streams(self, rng: np.random.Generator, B: int, seed: int) -> None:
        """Streams of a long signal, and of one of the length that the file was made at."""
        spec = self.spec
        if not isinstance(spec, StreamSpec):
            self.found.not_streamable = str(spec)
            return
        drive = Driver(self.model, self.inputs, spec)
        long = spec.mode == "time" and self.inputs.opens[0]  # else the file is right at one step only
        own = self.other.frozen[0] if long else None
        many = -(-STREAMED // own) * own if own else STREAMED
        for T in [many if long else FRAMES] + ([own] if own else []):
            feeds = self.inputs.draw(rng, T, B) if long else drive.signal(rng, T, B)
            try:
                stream = drive.open(feeds, B)
            except LstmInferError as error:
                if B > 1 and isinstance(error, StateError):
                    return  # its signals meet, or a state has no batch: one signal a stream
                self.rows.wrong("split", "", self._where(T, B, seed), f"it streams, yet: {error}")
                return
            self.found.streams = True
            try:
                self.streamed(rng, drive, stream, feeds, T, B, self._where(T, B, seed), long=long)
            except LstmInferError as error:
                self.rows.wrong("split", "", self._where(T, B, seed), f"{type(error).__name__}: {error}")

    def streamed(
        self,
        rng: np.random.Generator,
        drive: Driver,
        stream: Stream,
        feeds: Feeds,
        T: int,
        B: int,
        where: str,
        *,
        long: bool,
    ) -> None:
        """A stream in random pieces against run, and against the peer driven by hand."""
        spec = drive.spec
        own_scales = any(registry.is_stepwise(node) for node in self.model._graph.walk())
        if own_scales and B > 1:
            self._each_alone(rng, drive, stream, feeds, T, B, where)
            return
        begin = dict(stream.state)
        got = drive.in_pieces(rng, stream, feeds, T, B)
        left = dict(stream.state)
        end: Feeds = {}
        hidden = any(state.kind != "input" for state in spec.states)
        if hidden and (spec.stepwise or not long):
            whole = drive.alone(feeds, T, B)  # one run has other scales, or cannot carry the state
            if not long:
                self._begins_as_run(drive, whole, feeds, where)
                self._remembers(drive, feeds, T, B, where)
        elif long and not spec.stepwise:
            whole = end = self.model.run(feeds)
            for name, value in (self.other.run(feeds, T, B) or {}).items():
                self.rows.compare("whole", name, whole.get(name), value, where)
                self.found.compared += 1
        else:
            whole, end = drive.by_hand(self.model.run, feeds, T)
        for output in spec.outputs:
            self.rows.compare("split", output.name, got[output.name], whole[output.name], where, bits=True)
        if spec.steady and end:
            for name, output_name in self.inputs.states.items():
                want = as_state(end[output_name], left[name])
                self.rows.compare("split", output_name, left[name], want, where, bits=True)
        stream.reset()
        again = drive.in_pieces(rng, stream, feeds, T, B)
        for output in spec.outputs:
            self.rows.compare("split", output.name, again[output.name], got[output.name], f"{where}, reset", bits=True)
        if by_hand(spec) and (not spec.carried or self.other.exposed) and spec.stepwise:
            self._step_by_step(drive, feeds, T, B, where)
        elif by_hand(spec) and (not spec.carried or self.other.exposed):
            self._stepped(drive, got, feeds, begin, T, B, where, long=long)

    def _each_alone(
        self, rng: np.random.Generator, drive: Driver, stream: Stream, feeds: Feeds, T: int, B: int, where: str
    ) -> None:
        """The signals of a batch, each against a stream of its own: a run, and the peer, have one scale for all of them."""
        batch = self.inputs.roles.batch
        got = drive.in_pieces(rng, stream, feeds, T, B)
        axes = {o.name: o.batch_axis for o in self.model.outputs}
        for b in range(B):
            one = {
                name: value if name not in batch
                else np.take(value, [b], batch[name] + (drive.frames and name in drive.spec.streamed))
                for name, value in feeds.items()
            }  # fmt: skip
            alone = drive.in_pieces(rng, drive.open(one, 1), one, T, 1)
            for output in drive.spec.outputs:
                axis, made = axes[output.name], got[output.name]
                if axis is not None and made is not None:
                    mine = np.take(made, [b], axis + drive.frames)
                    self.rows.compare("split", output.name, mine, alone[output.name], where, bits=True)

    def _stepped(
        self,
        drive: Driver,
        got: Mapping[str, Any],
        feeds: Feeds,
        begin: Mapping[str, Any],
        T: int,
        B: int,
        where: str,
        *,
        long: bool,
    ) -> None:
        """The stream against the peer driven by hand: one step a call, or by the one length that the file takes."""
        for n in sorted({1, self.other.frozen[0] or 1} if long and drive.spec.mode == "time" else {1}):
            hand = self.other.hand(drive, feeds, begin, B, n) if T % n == 0 else None
            want: Feeds = {}
            if hand is not None:
                want, _ = drive.by_hand(hand.run, feeds, T, n=n, carried=hand.carried, first=hand.first)
            for output in drive.spec.outputs if want else ():
                if output.kind != "time" or got[output.name] is not None:
                    self.rows.compare("stepped", output.name, got[output.name], want[output.name], where)
                    self.found.compared += 1
            if want:
                return

    def _step_by_step(self, drive: Driver, feeds: Feeds, T: int, B: int, where: str) -> None:
        """Each step alone, from the state that the stream has then: a number that two sides round to two integers
        makes the states of quantised files drift apart, and no step is to blame."""
        stream = drive.open(feeds, B)
        hand = self.other.hand(drive, feeds, dict(stream.state), B, 1)
        if hand is None or hand.labels.keys() != hand.first.keys():
            return
        for name, value in hand.first.items():
            label = hand.labels[name]
            self.rows.compare("stepped", label, as_state(stream.state[label], value), value, where)
        side = {name: feeds[name] for name in drive.spec.side}
        for t in range(T):
            before = {n: as_state(stream.state[hand.labels[n]], value) for n, value in hand.first.items()}
            fed = {**side, **before, **drive.step_feeds(feeds, t)}
            got = dict(named(stream.run(one_or_all(drive.step_feeds(feeds, t))), drive.spec))
            want = hand.run(fed)
            if want is None:
                return
            for name, after in hand.carried.items():
                got[after] = as_state(stream.state[hand.labels[name]], want[after])
            want = self.other.judged(hand.run, fed, got, want)
            for name in got:
                self.rows.compare("stepped", name, got[name], want[name], where)
            self.found.compared += 1

    def _begins_as_run(self, drive: Driver, made: Mapping[str, Any], feeds: Feeds, where: str) -> None:
        """The first step of a stream is a run, where a run cannot carry the state to the next."""
        first = self.model.run({**feeds, **drive.step_feeds(feeds, 0)})
        for output in drive.spec.outputs:
            if drive.each_step(output):
                axis = output.axis if output.kind == "time" else 0
                begins = np.take(made[output.name], [0], axis)
                want = first[output.name] if output.kind == "time" else first[output.name][None]
                self.rows.compare("split", output.name, begins, want, where, bits=True)

    def _remembers(self, drive: Driver, feeds: Feeds, T: int, B: int, where: str) -> None:
        """The same frame, again and again, does not give the same answer each time: the state is carried."""
        same = dict(feeds)
        for name in drive.spec.streamed:
            axis = 0 if drive.frames else self.inputs.roles.time[name]
            same[name] = np.repeat(np.take(feeds[name], [0], axis), T, axis)
        made = drive.alone(same, T, B)
        axes = {o.name: o.axis if o.kind == "time" else 0 for o in drive.spec.outputs if drive.each_step(o)}
        if axes and all(np.array_equal(np.take(made[n], [0], a), np.take(made[n], [1], a)) for n, a in axes.items()):
            lost = "the stream gives the same for each step: it has lost its state"
            self.rows.wrong("split", next(iter(axes)), where, lost)

    def _where(self, T: int, B: int, seed: int) -> str:
        timed = bool(self.inputs.roles.time) or isinstance(self.spec, StreamSpec)
        return f"T={T}, " * timed + f"B={B}, seed {seed}{self.setting}"


def _with(sizes: tuple[int, ...], frozen: int | None) -> tuple[int, ...]:
    return sizes if frozen is None else tuple(sorted({*sizes, frozen}))
