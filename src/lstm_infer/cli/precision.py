"""`lstm-infer precision`: compare_precision on files, and a picture of what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import lstm_infer

from ..comparison.compare import compare_precision
from ..comparison.records import PrecisionReport
from ..drive.inputs import Feeds
from ..errors import ArgumentError, FormatError
from .files import read_signal

__all__ = ["precision"]

LAYERS_DRAWN = 16
LEAST = 1e-12
"""What 0 is drawn as, on an axis of powers."""


def precision(
    path: Path,
    files: Sequence[tuple[str, Path]],
    *,
    within: float | None,
    steps: int,
    plot: Path | None,
    seed: int,
    say: Callable[[str], None] | None,
    **options: Any,
) -> PrecisionReport:
    """Compare, and draw.

    files: (input name, .npy file), or ("", what `lstm-infer run` reads).

    Raises
    ------
    FormatError, OSError
        A file cannot be read or written.
    ArgumentError
        A picture is asked for, and matplotlib is not there.
    LstmInferError
        As `compare_precision`.
    """
    if plot is not None:
        if find_spec("matplotlib") is None:
            raise ArgumentError("--plot: matplotlib is not installed; pip install 'lstm_infer[plot]'")
        if not plot.parent.is_dir():
            raise FormatError(f"{plot}: the folder {plot.parent} is not there")
    feeds = _read(path, files, options) if files else None
    found = compare_precision(path, feeds, within=within, long_run=steps, say=say, seed=seed, **options)
    if plot is not None:
        _draw(plot, found)
    return found


def _read(path: Path, files: Sequence[tuple[str, Path]], options: dict[str, Any]) -> Feeds:
    feeds: Feeds = {}
    for name, file in files:
        if not name:
            feeds |= read_signal(file, lstm_infer.load(path, **options)).feeds
            continue
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise FormatError(f"{file}: {error}") from error
        if not isinstance(array, np.ndarray):
            raise FormatError(f"{file}: holds arrays by name, expected a .npy file with one")
        feeds[name] = array
    return feeds


def _draw(path: Path, found: PrecisionReport) -> None:
    """Errors over a long run, and by layer."""
    from matplotlib.figure import Figure  # not pyplot: no window system is asked for, no global state is left

    figure = Figure(figsize=(11, 8), layout="constrained")
    over, by = figure.subplots(2, 1)
    for row in found.rows[1:]:
        steps = [p.steps for p in row.growth]
        (line,) = over.plot(
            steps, [max(p.largest, LEAST) for p in row.growth], marker="o", label=f"{row.precision} largest"
        )
        mean = [max(p.mean, LEAST) for p in row.growth]
        over.plot(steps, mean, marker=".", ls="--", color=line.get_color(), label=f"{row.precision} mean")
    over.set(xscale="log", yscale="log", xlabel="steps", ylabel="|difference| from f32", title="Over a long run")
    kinds = [row.precision for row in found.rows[1:]]
    names = list(dict.fromkeys(one.layer for one in sorted(found.layers, key=lambda one: -one.largest)))[:LAYERS_DRAWN]
    width = 0.8 / max(len(kinds), 1)
    for n, kind in enumerate(kinds):
        errors = {one.layer: one.largest for one in found.layers if one.precision == kind}
        at = [i + n * width for i in range(len(names))]
        by.barh(at, [max(errors.get(name, 0.0), LEAST) for name in names], height=width, label=kind)
    by.set_yticks(range(len(names)), [name if len(name) < 40 else "..." + name[-37:] for name in names])
    by.invert_yaxis()
    by.set(xscale="log", xlabel="largest |difference| from f32", title="Each layer alone")
    if found.mix is not None:
        over.axhline(found.mix.within, color="gray", lw=1, label="within")
        by.axvline(found.mix.within, color="gray", lw=1)
    for axes in (over, by):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:  # a suffix that it does not know
        raise FormatError(f"{path}: {' '.join(str(error).split())}") from error
