"""A folder of C against the package: built here, fed seeded signals, compared bit for bit."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from math import inf
from pathlib import Path

from ...errors import ConvertError
from ...model import Model
from ..form import Proof
from ..report import Checked
from .replay import recorded
from .source import Source
from .toolchain import build, toolchain
from .write import Folder

__all__ = ["prove"]

STEPS = 1000
BEFORE = 7
"""Calls in front of a signal that begins from other states."""
MOST_BYTES = 256 << 20


def prove(
    made: Folder,
    path: Path,
    *,
    steps: int = STEPS,
    kept: Path | None = None,
    seconds: float | None = None,
    level: str = "-O3",
) -> Proof:
    """Build what was written to `path` in a temporary folder and replay frames: those that are recorded in it, as many steps as
    `steps` says of another signal, and a signal that begins from other states. Two signals are stepped side by side each time.

    Parameters
    ----------
    kept, level
        As in `build`.
    seconds : float, optional
        What each program may take.
    """
    options = made.options
    tools = toolchain(options.set)
    if isinstance(tools, str):
        return Proof(not_checked=f"not run here: {tools}")
    checks = []
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary)
        try:
            program = build(path, options.name, options.set, tools, into, level=level, kept=kept)
        except ConvertError as error:
            return Proof((Checked("compiled", 0, 0, inf, inf, str(error)),))
        for case, frames in _cases(made.model, path, made.source, steps):
            file = into / "frames.bin"
            file.write_bytes(frames)
            try:
                done = tools.run([str(program), str(file)], seconds)
                wrong = "" if done.returncode == 0 else done.stderr.strip() or f"ended with status {done.returncode}"
            except subprocess.TimeoutExpired:
                wrong = f"took more than {seconds} s"
            except OSError as error:  # a disk of which no program may run, say
                return Proof(not_checked=f"not run here: {error}")
            off = inf if wrong else 0.0
            n = int.from_bytes(frames[:8], "little") * options.chunk
            checks.append(Checked(case, n, options.batch, off, off, wrong))
    return Proof(tuple(checks))


def _cases(model: Model, path: Path, source: Source, steps: int) -> Iterator[tuple[str, bytes]]:
    options = source.options
    yield "as recorded", (path / f"{options.name}_frames.bin").read_bytes()
    calls = -(-steps // options.chunk)
    yield "another signal", recorded(model, source, calls, options.seed + 1, MOST_BYTES)
    if not source.changes:
        few = max(1, calls // 10)
        yield "from other states", recorded(model, source, few, options.seed + 2, MOST_BYTES, BEFORE)
