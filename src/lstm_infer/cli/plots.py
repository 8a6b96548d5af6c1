"""Everything that is drawn with matplotlib, an extra: the demo's riff, errors of precisions, latencies of `bench`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.records import PrecisionReport
from ..drive.timing import SPREAD
from ..errors import ArgumentError, FormatError
from ..records import printable

if TYPE_CHECKING:
    from .bench import BenchReport

__all__ = ["can_draw", "check_plot", "draw_bench", "draw_precision", "draw_riff"]

LAYERS_DRAWN = 16
LEAST = 1e-12
"""What 0 is drawn as, on an axis of powers."""
DPI = 110

Signal = NDArray[np.float32]


def can_draw() -> bool:
    """Is matplotlib installed."""
    return find_spec("matplotlib") is not None


def check_plot(path: Path) -> None:
    """Before work is done: can the picture be drawn there.

    Raises
    ------
    ArgumentError
        matplotlib is not there.
    FormatError
        The folder is not there.
    """
    if not can_draw():
        raise ArgumentError("--plot: matplotlib is not installed; pip install 'lstm_infer[plot]'")
    if not path.parent.is_dir():
        raise FormatError(f"{path}: the folder {path.parent} is not there")


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # not pyplot: no window system is asked for, no global state is left

    return Figure(figsize=(width, height), layout="constrained")


def _plain(text: str) -> str:
    """A text as it stands: what a file calls its parts is no formula, and holds nothing that a font has no sign for."""
    return printable(text).replace("$", r"\$")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=DPI)
    except ValueError as error:  # a suffix that it does not know
        raise FormatError(f"{path}: {' '.join(str(error).split())}") from error


# ---- bench ---------------------------------------------------------------------------------------------

SIDES = {
    "ours": ("ours, a new array", "tab:blue"), "ours_out": ("ours, out=", "tab:cyan"),
    "run": ("onnxruntime run", "tab:orange"), "io_binding": ("onnxruntime io_binding", "tab:red"),
    "int8_run": ("onnxruntime int8 run", "tab:olive"), "int8_binding": ("onnxruntime int8 io_binding", "tab:brown"),
}  # fmt: skip


def draw_bench(path: Path, found: BenchReport, title: str) -> None:
    """Medians with the 99th percentile for each way of calling, and how single calls of the first way spread."""
    figure = _figure(11, 4.8)
    medians, spread = figure.subplots(1, 2)
    sides = [side for side in SIDES if any(getattr(row, side) for row in found.rows)]
    width = 0.8 / max(len(sides), 1)
    for k, side in enumerate(sides):
        name, colour = SIDES[side]
        there = [(i, getattr(row, side)) for i, row in enumerate(found.rows) if getattr(row, side)]
        at = [i + (k - (len(sides) - 1) / 2) * width for i, _ in there]
        heights = [timing.median for _, timing in there]
        tails = [max(timing.p99 - timing.median, 0.0) for _, timing in there]
        none = [0.0] * len(tails)
        medians.bar(at, heights, width, label=name, color=colour)
        medians.errorbar(at, heights, yerr=[none, tails], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    medians.set_xticks(range(len(found.rows)), [_plain(row.what) for row in found.rows])
    medians.set(yscale="log", ylabel="µs a call", title="Median, whisker to the 99th percentile")
    medians.legend(fontsize="small")
    if found.rows:
        first = found.rows[0]
        for side in sides:
            timing = getattr(first, side)
            if timing and timing.spread:
                spread.plot(timing.spread, SPREAD, marker=".", label=SIDES[side][0], color=SIDES[side][1])
        spread.set(
            xscale="log", xlabel=_plain(f"µs, {first.what}"), ylabel="% of single calls that are faster", ylim=(0, 101)
        )
        spread.set_title("How single calls spread")
        spread.grid(alpha=0.3)
    figure.suptitle(_plain(title))
    _save(figure, path)


# ---- precision -----------------------------------------------------------------------------------------


def draw_precision(path: Path, found: PrecisionReport) -> None:
    """Errors over a long run, and by layer."""
    figure = _figure(11, 8)
    over, by = figure.subplots(2, 1)
    for row in found.rows[1:]:
        steps = [p.steps for p in row.growth]
        (line,) = over.plot(
            steps, [max(p.largest, LEAST) for p in row.growth], marker="o", label=_plain(f"{row.precision} largest")
        )
        mean = [max(p.mean, LEAST) for p in row.growth]
        over.plot(steps, mean, marker=".", ls="--", color=line.get_color(), label=_plain(f"{row.precision} mean"))
    over.set(xscale="log", yscale="log", xlabel="steps", ylabel="|difference| from f32", title="Over a long run")
    kinds = [row.precision for row in found.rows[1:]]
    names = list(dict.fromkeys(one.layer for one in sorted(found.layers, key=lambda one: -one.largest)))[:LAYERS_DRAWN]
    width = 0.8 / max(len(kinds), 1)
    for n, kind in enumerate(kinds):
        errors = {one.layer: one.largest for one in found.layers if one.precision == kind}
        at = [i + n * width for i in range(len(names))]
        by.barh(at, [max(errors.get(name, 0.0), LEAST) for name in names], height=width, label=_plain(kind))
    by.set_yticks(range(len(names)), [_plain(name if len(name) < 40 else "..." + name[-37:]) for name in names])
    by.invert_yaxis()
    by.set(xscale="log", xlabel="largest |difference| from f32", title="Each layer alone")
    if found.mix is not None:
        over.axhline(found.mix.within, color="gray", lw=1, label="within")
        by.axvline(found.mix.within, color="gray", lw=1)
    for axes in (over, by):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    _save(figure, path)


# ---- the demo ------------------------------------------------------------------------------------------


def draw_riff(path: Path, rate: int, dry: Signal, wet: Signal, curves: Sequence[tuple[float, Signal, Signal]]) -> None:
    """Wave before and after, a close look at a quarter of a second in, and output over input for sines.

    curves: (level, a period of the sine, what came out).
    """
    figure = _figure(11, 7)
    axes = figure.subplot_mosaic([["whole", "whole"], ["close", "curve"]], height_ratios=[1, 1.4])
    t = np.arange(len(dry)) / rate
    axes["whole"].plot(t, wet, lw=0.4, color="tab:orange", label="after")
    axes["whole"].plot(t, dry, lw=0.4, color="tab:blue", label="before")
    axes["whole"].set(title="The riff", xlabel="seconds", xlim=(0, len(dry) / rate))
    axes["whole"].legend(loc="upper right")
    part = slice(min(rate // 4, len(dry) // 2), min(rate // 4, len(dry) // 2) + rate // 40)
    axes["close"].plot(t[part] * 1000, wet[part], color="tab:orange", label="after")
    axes["close"].plot(t[part] * 1000, dry[part], color="tab:blue", label="before")
    axes["close"].set(title="25 ms of it", xlabel="milliseconds")
    for level, sine, out in curves:
        axes["curve"].plot(sine, out, label=f"level {level:g}")
    axes["curve"].set(title="Output over input, 120 Hz: a loop, since there is memory", xlabel="input", ylabel="output")
    axes["curve"].legend(loc="lower right")
    _save(figure, path)
