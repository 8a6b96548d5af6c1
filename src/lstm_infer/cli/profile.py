"""Where the time of a call goes: each C step of its plan run alone, beside its arithmetic and its bytes.

Nothing in the hot loop is watched: the calls are lowered once more, each becomes a plan of its own that holds it many
times, and that plan is run over the memory of a real call as it stands before that step. What a step takes alone, its
weights near, is what it takes at best: all together take longer where the weights of all do not fit into a cache.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import lstm_infer

from .. import _core
from ..analysis.spec import StreamSpec
from ..drive.driver import Driver, one_or_all
from ..drive.inputs import Inputs, first_setting, spec_or_error
from ..drive.timing import Call, interleave, pinned
from ..errors import NotStreamableError
from ..frozen import frozen
from ..graph.fact import Fact
from ..model import Model
from ..program.assemble import Placed
from ..program.calls import AnyCall, BranchCall, HostCall, LoopCall, MapCall
from .conditions import conditions
from .cost import Cost, cost_of, weight_bytes
from .machine import peak, reading
from .peer import seeded

if TYPE_CHECKING:
    from typing import Unpack

    import onnx

    from ..typing import CheckOptions

__all__ = ["Bounds", "CallProfile", "StepTime", "bounds", "profile"]

WHOLE, CHUNK = 100, 16
SMALL_BITS = 14
"""Less memory than this power of two is read at the rate of so much: what is small takes the time of a call."""
PIECE_NS, MOST_TIMES = 60_000, 512
"""A step is repeated until it takes about this long, at most so many times."""
ROUNDS, LONG_ROUNDS, LONG_NS = 15, 5, 10_000_000
"""Rounds; fewer where all steps together take longer than that."""


@dataclass
class StepTime:
    """One C step (or one call of NumPy, slot "host:<Op>"): microseconds alone, and what it has to do.

    at_best: microseconds that it cannot go below: multiplying at the peak, or moving its bytes at the rate at which so
    many are read. gflops counts a multiply-add as two; gbs all bytes, those of the weights too.
    """

    node: str
    op: str
    slot: str
    us: float
    at_best: float
    share: float
    gflops: float
    gbs: float
    cost: Cost

    @staticmethod
    def of(node: str, op: str, slot: str, us: float, at_best: float, share: float, cost: Cost) -> StepTime:
        """With the rates that follow."""
        ns = max(us * 1e3, 1e-9)
        return StepTime(node, op, slot, us, at_best, share, 2 * cost.macs / ns, cost.moved_bytes / ns, cost)


@dataclass
class Bounds:
    """What no call can go below: multiplying at the measured peak, reading all weights once at the measured rate of
    that working set. Microseconds; peak in GFLOP/s, rate in GB/s."""

    macs: int
    weight_bytes: int
    peak: float
    rate: float
    multiplying: float
    reading: float


@dataclass
class CallProfile:
    """A call, taken apart. sum: of the steps alone; together: all steps in one plan; whole: the call itself, its arrays
    looked at and made. Microseconds."""

    what: str
    steps: list[StepTime]
    sum: float
    together: float
    whole: float
    bounds: Bounds
    conditions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        return asdict(self)


@frozen
class _Taken:
    """A call lowered once more: its steps, the memory they run over, and the call itself."""

    what: str
    placed: Placed
    state: NDArray[np.uint8]
    arena: NDArray[np.uint8]
    bases: list[Any]
    call: Call


def profile(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    model: Model | None = None,
    steps: int | None = None,
    seed: int = 0,
    **options: Unpack[CheckOptions],
) -> CallProfile:
    """Take a call apart: a stream's step, batch 1; a chunk where the model looks ahead; a run where it does not stream.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        What to load, if `model` is not given.
    steps : int, optional
        Take a whole run of so many time steps apart instead.
    **options
        isa, inputs, constants, states, time_axis, as in `load`.

    Raises
    ------
    LstmInferError
        The engine refuses the model, or its input sizes are open and unknown.
    """
    if model is None:
        model = lstm_infer.load(source, **seeded(source, seed), **options)
    with pinned() as core:
        taken = _take(model, steps, seed)
        times, together, rounds = _measure(taken)
        whole = interleave({"whole": taken.call}, rounds, 0.002)["whole"].median
        found = _bounds(model.isa, taken.placed.calls)
        total = sum(times)
        machine = _Machine(model.isa, found.peak)
        rows = [
            _row(call, us, us / max(total, 1e-9), machine) for call, us in zip(taken.placed.calls, times, strict=True)
        ]
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said = {name: said[name] for name in ("CPU", "kernels", "system", "threads")}
    said["method"] = (
        f"median of {rounds} rounds of the thread's own time; each step alone, over and over, its weights in the nearest "
        "cache that holds them; the call itself with new arrays"
    )
    return CallProfile(taken.what, rows, total, together, whole, found, said)


def bounds(model: Model, seed: int = 0) -> Bounds:
    """What a call that `profile` would take apart cannot go below."""
    return _bounds(model.isa, _take(model, None, seed).placed.calls)


def _bounds(isa: str, calls: Sequence[AnyCall]) -> Bounds:
    cost, n_bytes = sum(map(cost_of, calls), Cost()), weight_bytes(calls)
    most, rate = peak(isa), reading(isa, n_bytes)
    return Bounds(cost.macs, n_bytes, 2 * most, rate, cost.macs / most / 1e3, n_bytes / rate / 1e3)


@dataclass
class _Machine:
    """What this core can do; the rate of reading is measured once for each power of two."""

    isa: str
    peak: float
    """GFLOP/s."""
    _rates: dict[int, float] = field(default_factory=dict)

    def at_best(self, cost: Cost) -> float:
        """Microseconds."""
        size = max(cost.moved_bytes.bit_length(), SMALL_BITS)
        if size not in self._rates:
            self._rates[size] = reading(self.isa, 1 << size)
        return max(2 * cost.macs / self.peak, cost.moved_bytes / self._rates[size]) / 1e3


def _row(call: AnyCall, us: float, share: float, machine: _Machine) -> StepTime:
    cost = cost_of(call)
    found = re.match(r"node '(.*)' \(([\w.]+)-\d+\)$", call.node_name)
    node, op = (found[1], found[2]) if found else (call.node_name, "")
    return StepTime.of(node, op, _slot(call), us, machine.at_best(cost), share, cost)


def _slot(call: AnyCall) -> str:
    if isinstance(call, HostCall):
        return f"host:{call.node.op}"
    if isinstance(call, MapCall):
        return "map_i64" if call.ints else "map_f32"
    return "loop" if isinstance(call, LoopCall) else "branch" if isinstance(call, BranchCall) else call.slot


# ---- what is taken apart --------------------------------------------------------------------------------


def _take(model: Model, steps: int | None, seed: int) -> _Taken:
    drawn, rng = first_setting(model), np.random.default_rng(seed)
    spec = spec_or_error(model)
    if steps is not None or isinstance(spec, NotStreamableError):
        return _of_run(model, drawn, rng, steps)
    if isinstance(spec, StreamSpec):
        return _of_stream(model, drawn, spec, rng)
    raise spec


def _of_stream(model: Model, drawn: Inputs, spec: StreamSpec, rng: np.random.Generator) -> _Taken:
    """A step, or a chunk where a step alone gives nothing."""
    n, B = drawn.sizes(1 if spec.steady else CHUNK, 1)
    feeds = drawn.draw(rng, n, B)
    stream = Driver(model, drawn, spec).open(feeds, B)
    plan = stream._plan
    block = plan.block(1, plan.first_phase) if spec.steady else plan.cut(n, plan.first_phase)[0]
    placed = plan.placed(block.n, plan.first_phase)
    fed = [np.ascontiguousarray(_first(feeds[name], drawn, name, block.n)) for name in plan.fed.names]
    x = one_or_all({name: feeds[name] for name in spec.streamed})
    state = _core.aligned_empty(max(stream._state.nbytes, 64))
    state[: stream._state.nbytes] = stream._state
    what = ("a frame" if spec.mode == "frame" else "a step") if spec.steady else f"a chunk of {block.n} steps"
    call: Callable[[Any], object] = stream.step if spec.steady else stream.run
    return _taken(what, placed, state, plan.store.anchor, fed, block.program.outputs, lambda: call(x))


def _first(array: NDArray[Any], drawn: Inputs, name: str, n: int) -> NDArray[Any]:
    """The first n steps of an input."""
    axis = drawn.roles.time.get(name)
    return array if axis is None else array[(slice(None),) * axis + (slice(n),)]


def _of_run(model: Model, drawn: Inputs, rng: np.random.Generator, steps: int | None) -> _Taken:
    T, B = drawn.sizes(steps or drawn.declared[0] or WHOLE, drawn.declared[1] or 1)
    feeds = drawn.draw(rng, T, B)
    names = [i.name for i in model.inputs]
    facts = {name: Fact.of(value) for name, value in model._options.constants.items()}
    facts |= {name: Fact(feeds[name].shape, feeds[name].dtype) for name in names}
    placed, outputs = model._programs.placed(facts, names, model._output_names)
    arrays = [feeds[name] for name in names]
    what = f"a run of {T} steps" if drawn.roles.time else "a run"
    state = _core.aligned_empty(max(placed.state_bytes, 64))
    anchor = model._programs.store.anchor
    return _taken(what, placed, state, anchor, arrays, outputs, lambda: model.run(feeds))


def _taken(
    what: str,
    placed: Placed,
    state: NDArray[np.uint8],
    anchor: NDArray[np.uint8],
    fed: Sequence[NDArray[Any]],
    outputs: Sequence[Fact],
    call: Call,
) -> _Taken:
    arena = _core.aligned_empty(max(placed.arena_bytes, 64))
    results = [np.zeros(fact.shape, fact.dtype) for fact in outputs]
    return _Taken(what, placed, state, arena, [anchor, state, arena, *fed, *results], call)


# ---- times ----------------------------------------------------------------------------------------------


class _Repeated:
    """One step, or all in a row: once, or over and over in one crossing into C."""

    def __init__(self, taken: _Taken, calls: Sequence[AnyCall]) -> None:
        self._taken, self._calls = taken, list(calls)
        self._once, self._often = self._plan(1), self._plan(1)
        self.times = 1

    def _plan(self, times: int) -> list[_core.Plan | HostCall]:
        return [segment for segment, _ in self._taken.placed.segments(self._calls * times)]

    def repeat(self, times: int) -> None:
        """From now on so many times at once."""
        self.times, self._often = times, self._plan(times)

    def ns(self, empty: float) -> float:
        """Nanoseconds of one, and the memory put back as it was; then it is made once."""
        kept = self._taken.state.copy(), self._taken.arena.copy()
        self._run(self._once)
        began = time.thread_time_ns()
        self._run(self._often)
        took = time.thread_time_ns() - began
        self._taken.state[:], self._taken.arena[:] = kept
        self._run(self._once)
        return max(took - empty, 0) / self.times

    def settle(self) -> None:
        """Find how often it is repeated: until that takes PIECE_NS."""
        while self.times < MOST_TIMES:
            took = self.ns(0) * self.times
            if took > PIECE_NS / 2:
                break
            self.repeat(min(MOST_TIMES, int(self.times * max(2, min(PIECE_NS / max(took, 1), 16)))))

    def _run(self, segments: Sequence[_core.Plan | HostCall]) -> None:
        for segment in segments:
            segment.run(self._taken.bases)


def _measure(taken: _Taken) -> tuple[list[float], float, int]:
    """Microseconds of each step, of all in one plan, and how many rounds were made."""
    begin = taken.state.copy()
    parts = [*(_Repeated(taken, [call]) for call in taken.placed.calls), _Repeated(taken, taken.placed.calls)]
    nothing = taken.placed.plan([])

    def empty() -> float:
        began = time.thread_time_ns()
        nothing.run(taken.bases)
        return time.thread_time_ns() - began

    for part in parts:
        part.settle()
    rounds = LONG_ROUNDS if parts[-1].ns(0) > LONG_NS else ROUNDS
    found: list[list[float]] = [[] for _ in parts]
    for _ in range(rounds):
        taken.state[:] = begin
        for part, times in zip(parts, found, strict=True):
            times.append(part.ns(statistics.median(empty() for _ in range(3))))
    *steps, together = (statistics.median(times) / 1e3 for times in found)
    return steps, together, rounds
