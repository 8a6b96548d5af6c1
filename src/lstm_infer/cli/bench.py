"""How fast, beside onnxruntime: the same feeds, interleaved rounds in one run, outputs compared in that run.

A stream carries its states on our side; on the other side they are fed back by hand, as its users do. onnxruntime is
imported when `bench` is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import lstm_infer

from ..drive.compare import Loose, compare
from ..drive.driver import Driver, constant_feeds, named, one_or_all
from ..drive.inputs import Feeds, Inputs, first_setting, stream_spec
from ..drive.timing import Call, Timing, interleave, pinned
from ..errors import LstmInferError, NotStreamableError
from ..model import Model
from ..ops import registry
from ..stream import Stream
from .conditions import conditions
from .peer import holds_bytes, open_session, seeded
from .quantised import quantised_session
from .stepped import RunPeer, bound

if TYPE_CHECKING:
    from typing import Unpack

    import onnx

    from ..typing import CheckOptions

__all__ = ["BenchReport", "BenchRow", "bench", "bench_step", "chunk_calls", "step_calls", "wants_int8"]

INT8 = "int8"
WHOLE, CHUNK = 100, 16
CHECKED = 8
"""Calls whose outputs are compared before the clock starts."""


@dataclass
class BenchRow:
    """One way of calling.

    Attributes
    ----------
    what : str
        "step", "chunk of 16", "whole, T=100".
    ours, ours_out : Timing or None
        A new array returned; `out=` filled.
    run, io_binding : Timing or None
        onnxruntime.
    int8_run, int8_binding : Timing or None
        onnxruntime with its own int8 of the file, where ours has int8.
    excess : float or None
        Largest difference between the two in units of what is allowed, the other side in f32; None where they could not be
        compared.
    note : str
        Why a side is missing.
    """

    what: str
    ours: Timing | None = None
    ours_out: Timing | None = None
    run: Timing | None = None
    io_binding: Timing | None = None
    int8_run: Timing | None = None
    int8_binding: Timing | None = None
    excess: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """onnxruntime's `run` over ours with a new array: above 1 we are faster."""
        return self.run.median / self.ours.median if self.run and self.ours else None

    @property
    def ratio_best(self) -> float | None:
        """The better of onnxruntime's two over the better of ours."""
        theirs = [t.median for t in (self.run, self.io_binding) if t]
        ours = [t.median for t in (self.ours, self.ours_out) if t]
        return min(theirs) / min(ours) if theirs and ours else None

    @property
    def ratio_int8(self) -> float | None:
        """The better of onnxruntime's int8 over the better of ours."""
        theirs = [t.median for t in (self.int8_run, self.int8_binding) if t]
        ours = [t.median for t in (self.ours, self.ours_out) if t]
        return min(theirs) / min(ours) if theirs and ours else None


@dataclass
class BenchReport:
    """What `bench` measured. `ok` is False where the two sides differ by more than is allowed."""

    conditions: dict[str, str]
    rows: list[BenchRow] = field(default_factory=list)
    not_streamable: str = ""

    @property
    def ok(self) -> bool:
        """Do all compared outputs agree."""
        return all(row.excess is None or row.excess <= 1 for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        plain = asdict(self)
        for row, made in zip(plain["rows"], self.rows, strict=True):
            row["ratio"], row["ratio_best"], row["ratio_int8"] = made.ratio, made.ratio_best, made.ratio_int8
            if made.excess is not None and not np.isfinite(made.excess):
                row["excess"] = "infinite"
        return {**plain, "ok": self.ok}


def bench(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    model: Model | None = None,
    rounds: int = 5,
    threads: int = 1,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    **options: Unpack[CheckOptions],
) -> BenchReport:
    """Time a model beside onnxruntime: a streaming step, a chunk, and a whole run, batch 1.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        What both sides load.
    model : Model, optional
        What `load` made of it, instead of a fresh one; the options of `load` are then not used.
    rounds : int
        Both sides take turns this many times; the median is taken over the rounds.
    threads : int
        For both sides. One thread is pinned to one core where the system can.
    say : callable, optional
        Called with a line before each part.
    **options
        isa, inputs, constants, states, time_axis, as in `load`.

    Raises
    ------
    MissingPeerError
        onnxruntime is not installed.
    LstmInferError
        The engine refuses the model, or its input sizes are open and unknown.
    """
    if model is None:
        model = lstm_infer.load(source, threads=threads, **seeded(source, seed), **options)
    tell = say or (lambda line: None)
    drawn = first_setting(model)
    rng = np.random.default_rng(seed)
    fixed = constant_feeds(drawn)
    session, trouble = _beside(source, threads, seed)
    int8, why = None, ""
    if wants_int8(model) and session is not None:
        tell("onnxruntime's int8")
        int8, why = quantised_session(source, threads=threads)
    exact = _exact(source, session, model)
    report = BenchReport({})
    spec = stream_spec(model)
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns

    def timed(row: BenchRow, calls: Mapping[str, Call]) -> None:
        report.rows.append(_fill(row, interleave(calls, rounds, clock=clock)))

    with pinned(threads == 1) as core:
        report.conditions = conditions(model.isa, threads=threads, core=core, rounds=rounds)
        if drawn.chosen:
            report.conditions["inputs"] = ", ".join(f"{name}={value}" for name, value in drawn.chosen.items())
        loose = Loose.of(model)
        if loose is not None:
            report.conditions["precision"] = f"{model._options.precision}; beside onnxruntime in f32 allowed: {loose}"
        if wants_int8(model):
            report.conditions["onnxruntime's int8"] = why or "quantize_dynamic, in this run"
        if isinstance(spec, NotStreamableError):
            report.not_streamable = str(spec)
        else:
            try:
                if spec.steady:
                    tell("step")
                    timed(*step_calls(model, session, seed=seed, fixed=fixed, int8=int8, exact=exact))
                if spec.mode == "time":
                    tell("chunk")
                    timed(*chunk_calls(model, session, seed=seed, fixed=fixed, int8=int8, exact=exact))
            except LstmInferError as error:
                report.not_streamable = str(error)
        if isinstance(spec, NotStreamableError) or spec.mode == "time" or not report.rows:
            tell("whole")
            timed(*_whole_calls(model, session, drawn, rng, fixed, int8, exact))
    for row in report.rows:
        row.note = row.note or trouble
    return report


def _beside(source: Any, threads: int, seed: int) -> tuple[Any, str]:
    """onnxruntime's session of a file, or why there is none."""
    if not seeded(source, seed):
        return None, "onnxruntime reads no native files"
    try:
        return open_session(source, threads=threads), ""
    except LstmInferError:
        raise
    except Exception as error:  # its exceptions share no base class
        return None, f"onnxruntime does not load it: {' '.join(str(error).split())[:120]}"


def _exact(source: Any, session: Any, model: Model) -> Any:
    """The session to compare with: where bytes are multiplied, one whose sums do not saturate."""
    if session is None or not holds_bytes(model._graph):
        return session
    try:
        return open_session(source, exact=True)
    except Exception:  # its exceptions share no base class
        return session


def bench_step(model: Model, session: Any, *, rounds: int, seed: int = 0, fixed: Feeds | None = None) -> BenchRow:
    """One streaming step, batch 1 (or the batch the file insists on). `session`: onnxruntime's, or None.

    Raises
    ------
    LstmInferError
        The model does not stream.
    """
    row, calls = step_calls(model, session, seed=seed, fixed=fixed)
    return _fill(row, interleave(calls, rounds))


def step_calls(
    model: Model,
    session: Any,
    *,
    seed: int = 0,
    fixed: Feeds | None = None,
    batch: int = 1,
    dicts: bool = False,
    int8: Any = None,
    exact: Any = None,
) -> tuple[BenchRow, dict[str, Call]]:
    """The ways to make one streaming step, by the fields of the row that their times go to; compared, not timed.
    dicts: ours takes and fills dicts where an array would do. int8: onnxruntime's session of the file in int8. exact: what is
    compared with, where it is not `session`.

    Raises
    ------
    LstmInferError
        The model does not stream.
    """
    spec = stream_spec(model)
    if isinstance(spec, NotStreamableError):
        raise spec
    drawn = first_setting(model)
    rng = np.random.default_rng(seed)
    _, B = drawn.sizes(1, batch)
    facts = [drawn.draw(rng, 1, B) for _ in range(CHECKED)]
    feeds = facts[0]

    def start() -> Stream:
        return Driver(model, drawn, spec).open(feeds, B)

    def frame(t: int) -> Any:
        parts = {name: facts[t][name] for name in spec.streamed}
        return parts if dicts else one_or_all(parts)

    row = BenchRow("step" if spec.mode != "frame" else "frame")
    stream = start()
    got = [named(stream.step(frame(t)), spec) for t in range(CHECKED)]
    x = frame(0)
    calls: dict[str, Call] = {"ours": _bind(start().step, x)}
    into = start()
    out = {name: np.empty_like(value) for name, value in got[0].items() if value is not None}
    target: Any = out if dicts or len(spec.outputs) != 1 else next(iter(out.values()))
    calls["ours_out"] = lambda: into.step(x, out=target)
    hidden = [s for s in model.states if s.kind != "input"]
    if hidden:
        row.note = f"onnxruntime cannot step it: the state {hidden[0].name!r} is hidden inside the graph"
    elif session is not None:
        side = {name: feeds[name] for name in spec.side} | (fixed or {})
        first = {name: feeds[name] for name in drawn.states}
        peer, sound = (RunPeer(one, side, first, drawn.states) for one in (session, exact or session))
        try:
            want = [sound.step({name: facts[t][name] for name in spec.streamed}) for t in range(CHECKED)]
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
        else:
            row.excess = _excess(model, got, want, [o.name for o in spec.outputs])
            one = {name: facts[0][name] for name in spec.streamed}
            calls["run"] = lambda: peer.step(one)
            calls |= bound("io_binding", session, side, first, drawn.states, one, want[0])
            calls |= _int8_calls(row, int8, side, first, drawn.states, one)
    return row, calls


def chunk_calls(
    model: Model,
    session: Any,
    *,
    steps: int = CHUNK,
    seed: int = 0,
    fixed: Feeds | None = None,
    batch: int = 1,
    int8: Any = None,
    exact: Any = None,
) -> tuple[BenchRow, dict[str, Call]]:
    """The ways to feed a stream that many steps a call; onnxruntime the same, where the states are in the graph's ports.

    Raises
    ------
    LstmInferError
        The model does not stream.
    """
    spec = stream_spec(model)
    if isinstance(spec, NotStreamableError):
        raise spec
    drawn = first_setting(model)
    T, B = drawn.sizes(steps, batch)
    feeds = drawn.draw(np.random.default_rng(seed), T, B)
    row = BenchRow(f"chunk of {T}")

    def start() -> Stream:
        return Driver(model, drawn, spec).open(feeds, B)

    parts = {name: feeds[name] for name in spec.streamed}
    x = one_or_all(parts)
    got = named(start().run(x), spec)
    calls: dict[str, Call] = {"ours": _bind(start().run, x)}
    if spec.steady and all(value is not None for value in got.values()):
        out = {name: np.empty_like(value) for name, value in got.items() if value is not None}
        target: Any = out if len(out) != 1 else next(iter(out.values()))
        into = start()
        calls["ours_out"] = lambda: into.run(x, out=target)
    if any(s.kind != "input" for s in model.states):
        row.note = "onnxruntime cannot go on from the last chunk: its state is hidden inside the graph"
    elif session is not None:
        side = {name: feeds[name] for name in spec.side} | (fixed or {})
        first = {name: feeds[name] for name in drawn.states}
        try:
            peer, sound = (RunPeer(one, side, first, drawn.states) for one in (session, exact or session))
            want = sound.step(parts)
            if any(registry.find(node).stepwise for node in model._graph.walk()):
                row.note = "not compared: onnxruntime takes one scale for all steps of a chunk, a stream one for each"
            else:
                row.excess = _excess(model, [got], [want], [o.name for o in spec.outputs])
            calls["run"] = lambda: peer.step(parts)
            calls |= bound("io_binding", session, side, first, drawn.states, parts, want)
            calls |= _int8_calls(row, int8, side, first, drawn.states, parts)
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
    return row, calls


def _whole_calls(
    model: Model,
    session: Any,
    drawn: Inputs,
    rng: np.random.Generator,
    fixed: Feeds,
    int8: Any = None,
    exact: Any = None,
) -> tuple[BenchRow, dict[str, Call]]:
    """The ways to run a whole sequence."""
    T, B = drawn.sizes(drawn.declared[0] or WHOLE, drawn.declared[1] or 1)  # onnxruntime insists on what is declared
    feeds = drawn.draw(rng, T, B)
    row = BenchRow(f"whole, T={T}" if drawn.roles.time else "whole")
    got = model.run(feeds)
    calls: dict[str, Call] = {"ours": _bind(model.run, feeds)}
    if session is not None:
        known = {i.name for i in session.get_inputs()}
        fed = {name: value for name, value in {**fixed, **feeds}.items() if name in known}
        names = [o.name for o in session.get_outputs()]
        try:
            want = dict(zip(names, (exact or session).run(None, fed), strict=True))
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
        else:
            row.note = _other_work(model, got, want)
            if row.note:
                return row, calls
            row.excess = _excess(model, [got], [want], names)
            calls["run"] = lambda: session.run(None, fed)
            calls |= bound("io_binding", session, fixed, {}, {}, feeds, want)
            calls |= _int8_calls(row, int8, fixed, {}, {}, feeds)
    return row, calls


def _other_work(model: Model, got: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    """Of a file that was opened: why onnxruntime does not do the same work, "" where it does."""
    if model.repaired or model.rewritten:
        for name, made in want.items():
            if np.shape(made) != np.shape(got[name]):
                shapes = f"{list(np.shape(made))}, not {list(np.shape(got[name]))}"
                return f"onnxruntime gives {name!r} as {shapes}: the file has the length of its example (see model.rewritten)"
    return ""


def wants_int8(model: Model) -> bool:
    """Is a layer held in 8 bits because that was asked for."""
    asked = model._options.precision
    return any(one.precision == INT8 and asked.asked(one.name) == INT8 for one in model.layers)


def _int8_calls(
    row: BenchRow, int8: Any, side: Feeds, first: Feeds, states: Mapping[str, str], x: Feeds
) -> dict[str, Call]:
    """onnxruntime's int8, where there is one."""
    if int8 is None:
        return {}
    try:
        peer = RunPeer(int8, side, first, states)
        like = peer.step(x)
        return {"int8_run": lambda: peer.step(x), **bound("int8_binding", int8, side, first, states, x, like)}
    except Exception as error:  # its exceptions share no base class
        row.note = f"onnxruntime's int8 refuses: {' '.join(str(error).split())[:120]}"
        return {}


def _excess(
    model: Model,
    got: Sequence[Mapping[str, NDArray[Any] | None]],
    want: Sequence[Mapping[str, NDArray[Any]]],
    names: Sequence[str],
) -> float:
    """The largest difference of some calls, in units of what is allowed."""
    loose = Loose.of(model)
    if loose is None:
        return max(compare(a[name], b[name])[1] for a, b in zip(got, want, strict=True) for name in names)
    wrong = [loose.see("", name, a[name], b[name])[1] for a, b in zip(got, want, strict=True) for name in names]
    return np.inf if any(wrong) else max(loose.excess("", name) for name in names)


def _bind(call: Callable[[Any], object], x: Any) -> Call:
    return lambda: call(x)


def _fill(row: BenchRow, timings: Mapping[str, Timing]) -> BenchRow:
    for name, timing in timings.items():
        setattr(row, name, timing)
    return row
