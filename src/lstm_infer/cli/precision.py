"""`lstm-infer precision`: compare_precision on files, and a picture of what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lstm_infer

from ..comparison.compare import compare_precision
from ..comparison.records import PrecisionReport
from ..drive.inputs import Feeds
from ..errors import ArgumentError
from ..native.container import native
from .files import read_array, read_signal
from .plots import check_plot, draw_precision

__all__ = ["precision"]


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
        check_plot(plot)
    if native(path) is not None:
        raise ArgumentError(
            f"{path}: how its weights are held was fixed when it was converted; give the file that it was made from"
        )
    feeds = _read(path, files, options) if files else None
    found = compare_precision(path, feeds, within=within, long_run=steps, say=say, seed=seed, **options)
    if plot is not None:
        draw_precision(plot, found)
    return found


def _read(path: Path, files: Sequence[tuple[str, Path]], options: dict[str, Any]) -> Feeds:
    feeds: Feeds = {}
    for name, file in files:
        if not name:
            feeds |= read_signal(file, lstm_infer.load(path, **options)).feeds
            continue
        feeds[name] = read_array(file)
    return feeds
