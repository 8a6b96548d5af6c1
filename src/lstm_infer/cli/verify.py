"""Side by side with onnxruntime: is what the engine gives what the file says, whole and in pieces.

onnxruntime is imported when `verify` is called. Where it refuses a model or its feeds, onnx's own reference evaluator
answers instead, as long as the model's recurrent operators hold nothing that the evaluator is known to ignore.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import lstm_infer

from ..errors import LstmInferError, NotStreamableError
from ..model import Model
from .drive import Driver
from .inputs import Feeds, Inputs, stream_spec
from .peer import MissingPeerError, Reference, open_session

if TYPE_CHECKING:
    import onnx

__all__ = [
    "ABSOLUTE", "RELATIVE", "MissingPeerError", "VerifyReport", "VerifyRow", "compare", "open_session", "verify",
    "versions",
]  # fmt: skip

ABSOLUTE, RELATIVE = 1e-5, 1e-4
"""|d| <= ABSOLUTE + RELATIVE |ref|, for every f32 model: both sides round every product differently."""
HALF = 4 * 2.0**-11
"""Relative rounding of float16 outputs: one rounding of each side, some four deep."""

SCALES = 0.05
"""Of an output's range: how far steps that are quantised by their own scales lie from a run with one scale."""

LENGTHS = (1, 2, 7, 20)
BATCHES = (1, 3)
STREAMED = 83
"""Steps of a streamed signal: longer than the largest block (64), and a sum of all block sizes."""
FRAMES = 12

Say = Callable[[str], None]


@dataclass
class VerifyRow:
    """One output under one kind of comparison, over all seeds and sizes.

    Attributes
    ----------
    output : str
    case : str
        "whole" (run against the peer), "split" (a stream in random pieces against run, bit for bit), "stepped" (a
        stream against the peer driven by hand, one step a call).
    n : int
        Comparisons made.
    worst_absolute : float
        Largest difference.
    worst_excess : float
        Largest difference in units of what is allowed: above 1 is wrong. For "split", 0 or infinite.
    ok : bool
    where : str
        The sizes at which the worst was seen.
    detail : str
        What else is wrong: a shape, an error.
    """

    output: str
    case: str
    n: int = 0
    worst_absolute: float = 0.0
    worst_excess: float = 0.0
    ok: bool = True
    where: str = ""
    detail: str = ""


@dataclass
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    ok : bool
        Nothing wrong was found.
    compared : int
        Comparisons with the peer; 0 means that nothing is known.
    rows : list of VerifyRow
    streams : bool
    not_streamable : str
        Why not; empty where it streams.
    not_comparable : dict of reason to count
        Feeds that neither peer runs.
    reference : dict of name to count
        Which peer answered how often.
    refusals : dict of reason to count
        Why onnxruntime did not answer, whether the evaluator did or not.
    versions : dict of package to version
    isa : str
    seed : int
    """

    ok: bool = True
    compared: int = 0
    rows: list[VerifyRow] = field(default_factory=list)
    streams: bool = False
    not_streamable: str = ""
    not_comparable: dict[str, int] = field(default_factory=dict)
    reference: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    isa: str = ""
    seed: int = 0

    @property
    def status(self) -> int:
        """Exit status: 0 fine, 1 found wrong, 2 nothing could be compared."""
        return 1 if not self.ok else 0 if self.compared else 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        plain = asdict(self)
        for row in plain["rows"]:
            for key in ("worst_absolute", "worst_excess"):
                row[key] = row[key] if np.isfinite(row[key]) else None
        return {**plain, "status": self.status}


def verify(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    model: Model | None = None,
    seed: int = 0,
    n_seeds: int = 3,
    isa: str | None = None,
    inputs: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
    states: Mapping[str, str] | None = None,
    time_axis: Mapping[str, int] | None = None,
    say: Say | None = None,
) -> VerifyReport:
    """Compare the engine with onnxruntime on random inputs.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        What both sides load.
    model : Model, optional
        What `load` made of it, to be checked in place of a fresh one; the options below are then not used.
    seed : int
        First of `n_seeds` seeds.
    isa, inputs, constants, states, time_axis
        As in `load`.
    say : callable, optional
        Called with a line before each part.

    Returns
    -------
    VerifyReport
        Errors of the engine where the peer has an answer are rows that are not ok.

    Raises
    ------
    MissingPeerError
        onnxruntime is not installed.
    LstmInferError
        The engine refuses the model, or its input sizes are open and unknown.
    """
    if model is None:
        model = lstm_infer.load(
            source, isa=isa, inputs=inputs, constants=constants, states=states, time_axis=time_axis, seed=seed
        )
    return _Check(source, model, seed, say or (lambda line: None)).report(n_seeds)


def compare(got: NDArray[Any] | None, want: NDArray[Any] | None, *, bits: bool = False) -> tuple[float, float, str]:
    """(largest difference, largest difference over what is allowed, what else is wrong)."""
    if got is None or want is None:
        same = got is None and want is None
        return (0.0, 0.0, "") if same else (np.inf, np.inf, "one side has no value")
    if got.shape != want.shape or got.dtype != want.dtype:
        return np.inf, np.inf, f"{got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    if got.size == 0:
        return 0.0, 0.0, ""
    if want.dtype.kind != "f":
        wrong = int(np.sum(got != want))
        return (np.inf, np.inf, f"{wrong} of {want.size} elements differ") if wrong else (0.0, 0.0, "")
    both_nan = np.isnan(got) & np.isnan(want)
    same = both_nan | (got == want)
    a, b = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore"):
        d = np.where(same, 0.0, np.abs(a - b))
        d = np.where(np.isnan(d), np.inf, d)
        if bits:
            raw = np.dtype(f"u{want.dtype.itemsize}")
            same = both_nan | (np.ascontiguousarray(got).view(raw) == np.ascontiguousarray(want).view(raw))
            wrong = int(np.sum(~same))
            return (
                float(d.max()),
                np.inf if wrong else 0.0,
                f"{wrong} of {want.size} differ in their bits" if wrong else "",
            )
        size = np.where(np.isfinite(b), np.abs(b), 0.0)
        allowed = HALF * np.maximum(size, 0.25) if want.dtype == np.float16 else ABSOLUTE + RELATIVE * size
    return float(d.max()), float((d / allowed).max()), ""


class _Check:
    """One run of `verify`."""

    def __init__(self, source: Any, model: Model, seed: int, say: Say) -> None:
        self.model, self.seed, self.say = model, seed, say
        self.inputs = Inputs(model)
        self.graph = self.inputs.roles.graph
        fixed = {name: np.asarray(value) for name, value in self.inputs.roles.constants.items()}
        self.reference = Reference(source, self.graph, fixed)
        self.rows: dict[tuple[str, str], VerifyRow] = {}
        self.spec = stream_spec(model)
        self.found = VerifyReport(isa=model.isa, seed=seed)
        self.frozen = self._frozen()

    def report(self, n_seeds: int) -> VerifyReport:
        open_time, open_batch = self.inputs.opens
        declared_T, declared_B = self.frozen  # onnxruntime may insist on what is open to us
        lengths = _with(LENGTHS, declared_T) if open_time else (self.inputs.roles.time_size or 1,)
        batches = _with(BATCHES, declared_B) if open_batch else (self.inputs.roles.batch_size or 1,)
        self._choose_sign(declared_T or lengths[-1], declared_B or batches[0])
        for seed in range(self.seed, self.seed + n_seeds):
            rng = np.random.default_rng(seed)
            self.say(f"seed {seed}: whole")
            for T in lengths:
                for B in batches:
                    self.whole(rng, T, B, seed)
            for B in batches:
                self.say(f"seed {seed}: streamed, batch {B}")
                self.streamed(rng, B, seed)
        found = self.found
        order = {"whole": 0, "split": 1, "stepped": 2}
        found.rows = sorted(self.rows.values(), key=lambda row: order.get(row.case, 3))
        found.ok = all(row.ok for row in found.rows)
        found.not_comparable = dict(self.reference.refused)
        found.reference, found.refusals = dict(self.reference.answered), dict(self.reference.refusals)
        found.versions = versions()
        return found

    def _frozen(self) -> tuple[int | None, int | None]:
        """The sizes that the file was made at: declared, or written into what the engine had to repair."""
        found = list(self.inputs.declared)
        for text in self.model.repaired:
            for place, word in enumerate(("time", "batch")):
                said = re.search(rf"\b{word} was frozen at (\d+)", text)
                found[place] = int(said[1]) if said and f" x {word} was" not in text else found[place]
        return found[0], found[1]

    def peer(self, feeds: Feeds, T: int, B: int) -> Feeds | None:
        """The reference's outputs. A repaired file means at its own sizes alone what it says: at others a frozen
        Reshape mixes time with batch, and no peer complains."""
        if self.model.repaired:
            for size, frozen in zip((T, B), self.frozen, strict=True):
                if frozen is not None and size != frozen:
                    self.reference.refused["the file has other sizes frozen in, which only the engine opens"] += 1
                    return None
        return self.reference.run(feeds)

    def _choose_sign(self, T: int, B: int) -> None:
        """Numbers of both signs, unless the peer makes of them something that is no number."""
        want = self.reference.run(self.inputs.draw(np.random.default_rng(self.seed), T, B))
        self.inputs.positive = want is not None and any(
            value.dtype.kind == "f" and not np.isfinite(value).all() for value in want.values()
        )
        self.reference.answered.clear()
        self.reference.refused.clear()
        self.reference.refusals.clear()

    def whole(self, rng: np.random.Generator, T: int, B: int, seed: int) -> None:
        """`Model.run` against the peer."""
        feeds = self.inputs.draw(rng, T, B)
        want = self.peer(feeds, T, B)
        if want is None:
            return
        where = self._where(T, B, seed)
        try:
            got = self.model.run(feeds)
        except LstmInferError as error:
            self.wrong("whole", "", where, f"{type(error).__name__}: {error}")
            return
        for name, value in want.items():
            self.row("whole", name, got.get(name), value, where)
            self.found.compared += 1

    def streamed(self, rng: np.random.Generator, B: int, seed: int) -> None:
        """A stream in random pieces against run, and against the peer driven by hand."""
        spec = self.spec
        if isinstance(spec, NotStreamableError):
            self.found.not_streamable = str(spec)
            return
        drive = Driver(self.model, self.inputs, spec)
        long = spec.mode == "time" and self.inputs.opens[0]  # else the file is right at one step only
        T = STREAMED if long else FRAMES
        feeds = self.inputs.draw(rng, T, B) if long else drive.signal(rng, T, B)
        where = self._where(T, B, seed)
        try:
            stream = drive.open(feeds, B)
        except LstmInferError as error:
            self.found.not_streamable = str(error)
            return
        self.found.streams = True
        try:
            got = drive.in_pieces(rng, stream, feeds, T, B)
            end: Feeds = {}
            if spec.stepwise or (not long and any(state.kind != "input" for state in spec.states)):
                whole = drive.alone(feeds, T, B)  # one run has other scales, or cannot carry the state
                self._close_to_run(drive, whole, feeds, where, long=long)
                if not long:
                    self._remembers(drive, feeds, T, B, where)
            elif long:
                whole = end = self.model.run(feeds)
            else:
                whole, end = drive.by_hand(self.model.run, feeds, T)
        except LstmInferError as error:
            self.wrong("split", "", where, f"{type(error).__name__}: {error}")
            return
        for output in spec.outputs:
            self.row("split", output.name, got[output.name], whole[output.name], where, bits=True)
        if spec.steady and end:
            for name, output_name in self.inputs.states.items():
                left = stream.state[name]
                self.row("split", output_name, left, end[output_name].reshape(left.shape), where, bits=True)
        if self.inputs.states:
            want, _ = drive.by_hand(lambda one: self.peer(one, 1, B), feeds, T)
            for output in spec.outputs if want else ():
                if output.kind != "time" or got[output.name] is not None:
                    self.row("stepped", output.name, got[output.name], want[output.name], where)
                    self.found.compared += 1

    def _close_to_run(self, drive: Driver, made: Mapping[str, Any], feeds: Feeds, where: str, *, long: bool) -> None:
        """Where a run cannot give the stream's bits: its first step, or, for scales of one step each, about the same."""
        if not long:
            first = self.model.run({**feeds, **drive.step_feeds(feeds, 0)})
            for output in drive.spec.outputs:
                if output.kind in ("time", "frame"):
                    axis = output.axis if output.kind == "time" else 0
                    begins = np.take(made[output.name], [0], axis)
                    want = first[output.name] if output.kind == "time" else first[output.name][None]
                    self.row("split", output.name, begins, want, where, bits=True)
            return
        whole = self.model.run(feeds)
        for output in drive.spec.outputs:
            got, want = made[output.name], whole[output.name]
            if want.dtype.kind == "f" and np.max(np.abs(got - want), initial=0) > SCALES * np.ptp(want):
                self.wrong("split", output.name, where, "further from run() than scales of single steps explain")

    def _remembers(self, drive: Driver, feeds: Feeds, T: int, B: int, where: str) -> None:
        """The same frame, again and again, does not give the same answer each time: the state is carried."""
        same = dict(feeds)
        for name in drive.spec.streamed:
            axis = 0 if drive.spec.mode == "frame" else self.inputs.roles.time[name]
            same[name] = np.repeat(np.take(feeds[name], [0], axis), T, axis)
        made = drive.alone(same, T, B)
        axes = {o.name: o.axis if o.kind == "time" else 0 for o in drive.spec.outputs if o.kind in ("time", "frame")}
        if axes and all(np.array_equal(np.take(made[n], [0], a), np.take(made[n], [1], a)) for n, a in axes.items()):
            self.wrong(
                "split", next(iter(axes)), where, "the stream gives the same for each step: it has lost its state"
            )

    def _where(self, T: int, B: int, seed: int) -> str:
        sizes = [f"T={T}"] if self.inputs.roles.time or not isinstance(self.spec, NotStreamableError) else []
        return ", ".join([*sizes, f"B={B}", f"seed {seed}"])

    def row(
        self,
        case: str,
        output: str,
        got: NDArray[Any] | None,
        want: NDArray[Any] | None,
        where: str,
        *,
        bits: bool = False,
    ) -> None:
        row = self.rows.setdefault((case, output), VerifyRow(output, case))
        absolute, excess, detail = compare(got, want, bits=bits)
        row.n += 1
        row.ok &= excess <= 1
        if not row.where or excess > row.worst_excess:
            row.where, row.worst_excess, row.detail = where, excess, detail
        row.worst_absolute = max(row.worst_absolute, absolute)

    def wrong(self, case: str, output: str, where: str, detail: str) -> None:
        row = self.rows.setdefault((case, output), VerifyRow(output, case))
        row.n, row.ok, row.worst_absolute, row.worst_excess = row.n + 1, False, np.inf, np.inf
        row.where, row.detail = where, detail


def _with(sizes: tuple[int, ...], declared: int | None) -> tuple[int, ...]:
    return sizes if declared is None else tuple(sorted({*sizes, declared}))


def versions() -> dict[str, str]:
    """Of what takes part."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"lstm_infer": lstm_infer.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("onnx", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
