"""The show behind `lstm-infer demo`: a riff through the packaged amplifier, sample by sample and in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import lstm_infer
from lstm_infer.cli.demo.beside import Peer
from lstm_infer.cli.demo.pluck import riff
from lstm_infer.cli.plots import can_draw, draw_riff
from lstm_infer.cli.wav import write_wav

__all__ = ["MODEL", "RATE", "run_demo"]

MODEL = Path(__file__).with_name("amp.onnx")
RATE = 48000
CHUNKS = (1, 64, 128, 256)
BUDGET_S = 1.5
"""Each row of the table stops after this much time, wherever in the riff it is: the whole show stays within seconds."""
RTOL, ATOL = 1e-4, 1e-5
"""What the project promises against onnxruntime in f32."""

_WHAT = {".png": ": the picture, before and after"}

Signal = NDArray[np.float32]
Feed = Callable[[Signal, Signal], None]
"""Takes x [T, 1, 1] and an array for y [T, 1, 1], and fills it."""


def run_demo(
    out_dir: str | Path = ".",
    *,
    seconds: float = 4.0,
    plot: bool = True,
    wav: str | Path | None = "lstm_infer_demo.wav",
    json: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, object]:
    """Play a riff through the demo's amplifier, check and time it, and write what came out.

    Parameters
    ----------
    out_dir : path
        Where the files go; made if absent.
    seconds : float
        Length of the riff.
    plot : bool
        Draw the wave before and after, and the transfer curve, into a PNG beside the WAV, where matplotlib is
        installed.
    wav : path, optional
        The WAV to write, taken from `out_dir` unless absolute; the riff as it went in stands beside it as
        `..._dry.wav`. None writes no file at all, no plot either.
    json : bool
        Say nothing: the caller prints the returned dict for a machine.
    say : callable, optional
        Called with each line of text. Nothing is printed here.

    Returns
    -------
    dict
        Plain values, as JSON takes them. `ok` is False where pieces and whole differ in a bit, or onnxruntime's
        result lies outside the tolerance; `same_bits`, `rows` (per chunk length: `samples`, `us_per_call`,
        `us_per_sample`, `realtime`, and `onnxruntime` with the same and `largest_difference`), `files`, and more.

    Raises
    ------
    ValueError
        `seconds` is not above 0.
    OSError
        A file cannot be written.
    LstmInferError
        The packaged model cannot be loaded.
    """
    tell = say if say is not None and not json else _nothing
    if wav is not None:
        (Path(out_dir) / wav).parent.mkdir(parents=True, exist_ok=True)
    dry = riff(seconds, rate=RATE)
    x = dry.reshape(-1, 1, 1)  # [T, B, 1], the model's layout
    model = lstm_infer.load(MODEL)
    tell(f"A guitar amplifier (LSTM of 40 units, {MODEL.stat().st_size // 1024} KB), {len(x) / RATE:g} s of a riff")

    whole = np.empty_like(x)
    model.stream().run(x, out=whole)
    timed = _Timed(model, x, whole)
    for line in timed.lines():
        tell(line)
    files = [] if wav is None else _write(Path(out_dir) / wav, dry, whole[:, 0, 0], model, plot=plot)
    for file in files:
        tell(f"wrote {file}{_WHAT.get(Path(file).suffix, '')}")
    if plot and files and not can_draw():
        tell("no picture: matplotlib is not installed (pip install 'lstm_infer[plot]')")
    return {
        "ok": timed.same_bits and timed.agrees,
        "same_bits": timed.same_bits,
        "seconds": len(x) / RATE,
        "rate": RATE,
        "rows": timed.rows,
        "onnxruntime": timed.peer_version,
        "largest_difference": timed.worst if timed.with_peer else None,
        "files": files,
    }


class _Timed:
    """The riff in chunks of each length: the same bits as `whole`, how fast, and what onnxruntime does with it."""

    def __init__(self, model: lstm_infer.Model, x: Signal, whole: Signal) -> None:
        self.model, self.x, self.whole = model, x, whole
        self.with_peer = find_spec("onnxruntime") is not None and find_spec("onnx") is not None
        self.peer_version: str | None = None
        self.rows: list[dict[str, object]] = []
        self.same_bits, self.agrees, self.worst = True, True, 0.0

    def lines(self) -> Iterator[str]:
        """Run it, and tell of each row when it is there."""
        head = "samples a call | us a call | times real time"
        yield head + " | onnxruntime, us a call | ours is faster" * self.with_peer
        for length in CHUNKS:
            yield self._row(length)
        yield "Same bits for every chunk length." if self.same_bits else "WRONG: the bits depend on the chunk length."
        if self.with_peer:
            verdict = "" if self.agrees else f" WRONG: that is outside {ATOL:g} + {RTOL:g} |y|."
            far = f"Largest difference from onnxruntime {self.peer_version}: {self.worst:.1e}"
            yield f"{far}, peak {np.abs(self.whole).max():.2f}.{verdict}"

    def _row(self, length: int) -> str:
        stream = self.model.stream()
        ours, y = _time(_step_all(stream) if length == 1 else _run_chunk(stream), self.x, length)
        equal = bool(np.array_equal(self.whole[: len(y)].view(np.uint32), y.view(np.uint32)))
        self.same_bits &= equal
        row: dict[str, object] = {"chunk": length, "same_bits": equal, **ours}
        self.rows.append(row)
        line = f"{length:14d} | {ours['us_per_call']:9.2f} | {ours['realtime']:15.1f}"
        return line + self._beside(row, ours["us_per_call"], length) if self.with_peer else line

    def _beside(self, row: dict[str, object], us_per_call: float, length: int) -> str:
        """The same by onnxruntime, into the row."""
        peer = Peer(MODEL)
        self.peer_version = peer.version
        theirs, y = _time(_run_peer(peer, length), self.x, length)
        error = np.abs(y - self.whole[: len(y)])
        fine = bool((error <= ATOL + RTOL * np.abs(y)).all())
        self.agrees &= fine
        self.worst = max(self.worst, float(error.max()))
        faster = theirs["us_per_call"] / us_per_call
        row["onnxruntime"] = {**theirs, "largest_difference": float(error.max()), "within_tolerance": fine}
        row["faster"] = faster
        return f" | {theirs['us_per_call']:22.2f} | {faster:13.1f}x"


def _write(path: Path, dry: Signal, wet: Signal, model: lstm_infer.Model, *, plot: bool) -> list[str]:
    """The riff before and after, and a picture of both where matplotlib is installed; the paths written."""
    before = path.with_name(f"{path.stem}_dry{path.suffix}")
    write_wav(before, dry, RATE)
    write_wav(path, wet, RATE)
    files = [str(before), str(path)]
    if plot and can_draw():
        picture = path.with_suffix(".png")
        draw_riff(picture, RATE, dry, wet, list(_curves(lambda: _run_chunk(model.stream()))))
        files.append(str(picture))
    return files


class _Stream(Protocol):
    """The two calls of a stream that are used here."""

    def step(self, x: Signal, /, *, out: Signal) -> object: ...
    def run(self, x: Signal, /, *, out: Signal) -> object: ...


def _step_all(stream: _Stream) -> Feed:
    """One call a sample: the loop that a program with one sample at a time in hand would write."""
    step = stream.step

    def feed(x: Signal, y: Signal) -> None:
        for frame, out in zip(x, y, strict=True):
            step(frame, out=out)

    return feed


def _run_chunk(stream: _Stream) -> Feed:
    def feed(x: Signal, y: Signal) -> None:
        stream.run(x, out=y)

    return feed


def _run_peer(peer: Peer, length: int) -> Feed:
    def feed(x: Signal, y: Signal) -> None:
        for at in range(0, len(x), length):
            y[at : at + length] = peer.run(x[at : at + length])

    return feed


def _time(feed: Feed, x: Signal, length: int) -> tuple[dict[str, float], Signal]:
    """Feed x from the beginning for BUDGET_S at most; figures for a call of `length`, and the y that was reached."""
    y = np.empty_like(x)
    block = length if length > 1 else 1200  # the clock is read between blocks, not between samples
    n = 0
    began = time.perf_counter()
    while n < len(x) and (n == 0 or time.perf_counter() - began < BUDGET_S):
        feed(x[n : n + block], y[n : n + block])
        n = min(n + block, len(x))
    took = time.perf_counter() - began
    return {"samples": n, "us_per_call": took / n * length * 1e6, "realtime": n / RATE / took}, y[:n]


def _curves(new: Callable[[], Feed]) -> Iterator[tuple[float, Signal, Signal]]:
    """The last period of sines of some levels, and what the amplifier makes of it."""
    n_period = RATE // 120
    for level in (0.03, 0.1, 0.3):
        sine = (level * np.sin(2 * np.pi * np.arange(60 * n_period) / n_period)).astype(np.float32)
        out = np.empty_like(sine)
        new()(sine.reshape(-1, 1, 1), out.reshape(-1, 1, 1))
        yield level, sine[-n_period - 1 :], out[-n_period - 1 :]


def _nothing(line: str) -> None:
    """Say nothing."""
