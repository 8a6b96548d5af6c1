"""How fast, beside onnxruntime: the same feeds, interleaved rounds in one run, outputs compared in that run.

A stream carries its states on our side; on the other side they are fed back by hand, as its users do. onnxruntime is
imported when `bench` is called.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lstm_infer

from .. import _core
from ..analysis.spec import StreamSpec
from ..errors import LstmInferError, NotStreamableError
from ..model import Model
from ..stream import Stream
from .compare import compare
from .drive import Driver, constant_feeds, named, one_or_all
from .inputs import Feeds, Inputs, stream_spec
from .peer import open_session
from .verify import versions

if TYPE_CHECKING:
    from typing import Unpack

    import onnx

    from .drive import LoadOptions

__all__ = ["BenchReport", "BenchRow", "Timing", "bench", "bench_step", "conditions", "interleave", "pinned"]

WHOLE, CHUNK = 100, 16
CHECKED = 8
"""Calls whose outputs are compared before the clock starts."""
ROUND_S = 0.04
"""What a contender runs in one round; its calls are counted so that they take about this long."""
TAIL_CALLS = 1000
"""Single calls on the clock for the 99th percentile, over all rounds."""

Call = Callable[[], object]


@dataclass
class Timing:
    """Microseconds a call: `median` over rounds of many calls; `p99` over single calls, with the clock's own cost."""

    median: float
    p99: float


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
    excess : float or None
        Largest difference between the two in units of what is allowed; None where they could not be compared.
    note : str
        Why a side is missing.
    """

    what: str
    ours: Timing | None = None
    ours_out: Timing | None = None
    run: Timing | None = None
    io_binding: Timing | None = None
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
            row["ratio"], row["ratio_best"] = made.ratio, made.ratio_best
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
    **options: Unpack[LoadOptions],
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
        model = lstm_infer.load(source, threads=threads, seed=seed, **options)
    tell = say or (lambda line: None)
    drawn = Inputs(model)
    rng = np.random.default_rng(seed)
    fixed = constant_feeds(drawn)
    session, trouble = None, ""
    try:
        session = open_session(source, threads=threads)
    except LstmInferError:
        raise
    except Exception as error:  # its exceptions share no base class
        trouble = f"onnxruntime does not load it: {' '.join(str(error).split())[:120]}"
    report = BenchReport({})
    spec = stream_spec(model)
    with pinned(threads == 1) as core:
        report.conditions = conditions(model.isa, threads=threads, core=core, rounds=rounds)
        if isinstance(spec, NotStreamableError):
            report.not_streamable = str(spec)
        else:
            try:
                if spec.steady:
                    tell("step")
                    report.rows.append(bench_step(model, session, rounds=rounds, seed=seed, fixed=fixed))
                if spec.mode == "time":
                    tell("chunk")
                    report.rows.append(_chunk(model, session, drawn, spec, rng, fixed, rounds))
            except LstmInferError as error:
                report.not_streamable = str(error)
        if isinstance(spec, NotStreamableError) or spec.mode == "time" or not report.rows:
            tell("whole")
            report.rows.append(_whole(model, session, drawn, rng, fixed, rounds))
    for row in report.rows:
        row.note = row.note or trouble
    return report


def bench_step(model: Model, session: Any, *, rounds: int, seed: int = 0, fixed: Feeds | None = None) -> BenchRow:
    """One streaming step, batch 1 (or the batch the file insists on). `session`: onnxruntime's, or None.

    Raises
    ------
    LstmInferError
        The model does not stream.
    """
    spec = stream_spec(model)
    if isinstance(spec, NotStreamableError):
        raise spec
    drawn = Inputs(model)
    rng = np.random.default_rng(seed)
    _, B = drawn.sizes(1, 1)
    facts = [drawn.draw(rng, 1, B) for _ in range(CHECKED)]
    feeds = facts[0]

    def start() -> Stream:
        return Driver(model, drawn, spec).open(feeds, B)

    def frame(t: int) -> Any:
        return one_or_all({name: facts[t][name] for name in spec.streamed})

    row = BenchRow("step" if spec.mode != "frame" else "frame")
    stream = start()
    got = [named(stream.step(frame(t)), spec) for t in range(CHECKED)]
    x = frame(0)
    calls: dict[str, Call] = {"ours": _bind(start().step, x)}
    into = start()
    out = {name: np.empty_like(value) for name, value in got[0].items() if value is not None}
    target: Any = out if len(spec.outputs) != 1 else next(iter(out.values()))
    calls["ours_out"] = lambda: into.step(x, out=target)
    hidden = [s for s in model.states if s.kind != "input"]
    if hidden:
        row.note = f"onnxruntime cannot step it: the state {hidden[0].name!r} is hidden inside the graph"
    elif session is not None:
        side = {name: feeds[name] for name in spec.side} | (fixed or {})
        first = {name: feeds[name] for name in drawn.states}
        peer = _RunPeer(session, side, first, drawn.states)
        try:
            want = [peer.step({name: facts[t][name] for name in spec.streamed}) for t in range(CHECKED)]
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
        else:
            row.excess = max(
                compare(ours[o.name], theirs[o.name])[1]
                for ours, theirs in zip(got, want, strict=True)
                for o in spec.outputs
            )
            one = {name: facts[0][name] for name in spec.streamed}
            calls["run"] = lambda: peer.step(one)
            calls["io_binding"] = _BoundPeer(session, side, first, drawn.states, one, want[0]).step
    _fill(row, interleave(calls, rounds))
    return row


def _chunk(
    model: Model, session: Any, drawn: Inputs, spec: StreamSpec, rng: np.random.Generator, fixed: Feeds, rounds: int
) -> BenchRow:
    """A stream fed CHUNK steps a call; onnxruntime the same, where the states are in the graph's ports."""
    T, B = drawn.sizes(CHUNK, 1)
    feeds = drawn.draw(rng, T, B)
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
        side = {name: feeds[name] for name in spec.side} | fixed
        first = {name: feeds[name] for name in drawn.states}
        try:
            peer = _RunPeer(session, side, first, drawn.states)
            want = peer.step(parts)
            row.excess = max(compare(got[o.name], want[o.name])[1] for o in spec.outputs)
            calls["run"] = lambda: peer.step(parts)
            calls["io_binding"] = _BoundPeer(session, side, first, drawn.states, parts, want).step
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
    _fill(row, interleave(calls, rounds))
    return row


def _whole(model: Model, session: Any, drawn: Inputs, rng: np.random.Generator, fixed: Feeds, rounds: int) -> BenchRow:
    """`Model.run` on a whole sequence."""
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
            want = dict(zip(names, session.run(None, fed), strict=True))
        except Exception as error:  # its exceptions share no base class
            row.note = f"onnxruntime refuses: {' '.join(str(error).split())[:120]}"
        else:
            row.excess = max(compare(got[name], want[name])[1] for name in names)
            calls["run"] = lambda: session.run(None, fed)
            calls["io_binding"] = _BoundPeer(session, fixed, {}, {}, feeds, want).step
    _fill(row, interleave(calls, rounds))
    return row


def _bind(call: Callable[[Any], object], x: Any) -> Call:
    return lambda: call(x)


def _fill(row: BenchRow, timings: Mapping[str, Timing]) -> None:
    for name, timing in timings.items():
        setattr(row, name, timing)


class _RunPeer:
    """onnxruntime through `run`, the states carried by hand."""

    def __init__(self, session: Any, side: Feeds, first: Feeds, states: Mapping[str, str]) -> None:
        self._run, self._states = session.run, list(states.items())
        self._names = [o.name for o in session.get_outputs()]
        known = {i.name for i in session.get_inputs()}
        self._feeds = {name: value for name, value in {**side, **first}.items() if name in known}

    def step(self, x: Feeds) -> Feeds:
        """One call."""
        feeds = self._feeds
        feeds.update(x)
        out = dict(zip(self._names, self._run(None, feeds), strict=True))
        for name, after in self._states:
            feeds[name] = out[after]
        return out


class _BoundPeer:
    """onnxruntime through `run_with_iobinding`: no array is made in a call, states go back and forth between two sets
    of memory, the frame is copied in."""

    def __init__(
        self, session: Any, side: Feeds, first: Feeds, states: Mapping[str, str], x: Feeds, like: Feeds
    ) -> None:
        self._run = session.run_with_iobinding
        known = {i.name for i in session.get_inputs()}
        self._source = [(np.empty_like(value), value) for name, value in x.items() if name in known]
        fed = dict(zip([n for n in x if n in known], [memory for memory, _ in self._source], strict=True))
        for memory, value in self._source:
            memory[...] = value
        fed |= {name: value for name, value in side.items() if name in known}
        sets = [{name: np.array(first[name], order="C") for name in states} for _ in range(2)]
        after = {output: name for name, output in states.items()}
        self._keep: list[Any] = [fed, sets]
        self._bindings = []
        for turn in range(2 if states else 1):
            binding = session.io_binding()
            for name, value in {**fed, **sets[turn]}.items():
                binding.bind_cpu_input(name, value)
            for output in session.get_outputs():
                memory = (
                    sets[1 - turn][after[output.name]] if output.name in after else np.empty_like(like[output.name])
                )
                shape = like[output.name].shape
                binding.bind_output(output.name, "cpu", 0, memory.dtype, shape, memory.ctypes.data)
                self._keep.append(memory)
            self._bindings.append(binding)
        self._turn = 0

    def step(self) -> None:
        """One call; outputs lie in memory bound before."""
        for memory, value in self._source:
            memory[...] = value
        self._run(self._bindings[self._turn])
        self._turn = (self._turn + 1) % len(self._bindings)


def interleave(calls: Mapping[str, Call], rounds: int) -> dict[str, Timing]:
    """Time the calls in turns. The garbage collector stays as it is: our users do not switch it off either."""
    counts = {name: _calls_for(call, ROUND_S) for name, call in calls.items()}
    means: dict[str, list[float]] = {name: [] for name in calls}
    tails: dict[str, list[int]] = {name: [] for name in calls}
    clock = time.perf_counter_ns
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            for _ in repeat(None, counts[name]):
                call()
            means[name].append((clock() - began) / counts[name])
            singles = tails[name]
            for _ in repeat(None, min(counts[name], max(TAIL_CALLS // rounds, 1))):
                began = clock()
                call()
                singles.append(clock() - began)
    return {
        name: Timing(statistics.median(means[name]) / 1e3, float(np.percentile(tails[name], 99)) / 1e3)
        for name in calls
    }


def _calls_for(call: Call, seconds: float) -> int:
    """How many calls take about this long, after warming up."""
    n = 1
    while True:
        began = time.perf_counter()
        for _ in repeat(None, n):
            call()
        took = time.perf_counter() - began
        if took > seconds / 4 or n > 1 << 20:
            return max(int(n * seconds / max(took, 1e-9)), 1)
        n *= 4


@contextmanager
def pinned(wanted: bool = True) -> Iterator[int | None]:
    """Keep this thread on one core inside; gives its number, or None where the system cannot."""
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)  # the first core takes most interrupts
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def conditions(isa: str, *, threads: int, core: int | None, rounds: int) -> dict[str, str]:
    """What a number has to be read with."""
    return {
        "CPU": _cpu(),
        "kernels": f"{isa}, built by {_compiler()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {_load()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "threads": f"{threads}, " + ("not pinned" if core is None else f"pinned to core {core}"),
        "onnxruntime": "CPU provider, sequential, all graph optimisations, no spinning",
        "method": f"median of {rounds} interleaved rounds of {ROUND_S * 1000:.0f} ms, weights warm; "
        "states carried by our stream, fed back by hand to onnxruntime; outputs compared in the same run",
    }  # fmt: skip


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (AttributeError, OSError):
        return "unknown"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _compiler() -> str:
    """What the compiler wrote into the kernels' module, if it did."""
    try:
        data = Path(_core.__file__).read_bytes()
    except OSError:
        return "an unknown compiler"
    found = re.search(rb"GCC: \([^\0]{1,60}\) ([\d.]+)|(clang version [\w.]+)", data)
    if not found:
        return "an unknown compiler"
    return f"gcc {found[1].decode()}" if found[1] else found[2].decode()
