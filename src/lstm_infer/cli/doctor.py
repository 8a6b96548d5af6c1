"""`lstm-infer doctor`: what is installed, what can run here, and whether it computes right; what to send with a report."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import lstm_infer

from .._core import list_isas
from ..isa import choose_isa
from .demo.show import MODEL

if TYPE_CHECKING:
    from ..typing import Isa

__all__ = ["Diagnosis", "doctor"]

PACKAGES = ("numpy", "onnx", "protobuf", "onnxruntime", "rich", "matplotlib", "torch", "keras")
VARIABLES = ("LSTM_INFER_ISA",)
STEPS = 200
ALLOWED = 1e-5
"""Between one set and the plain one; the vector sets give equal bits among themselves."""


@dataclass(frozen=True)
class Trial:
    """One thing that was tried."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes
    ----------
    versions : dict of str to str
    machine : dict of str to str
    sets : dict of instruction set to bool
        Can it run here.
    picked : str
    trials : tuple of Trial
    """

    versions: dict[str, str]
    machine: dict[str, str]
    sets: dict[str, bool]
    picked: str
    trials: tuple[Trial, ...]

    @property
    def ok(self) -> bool:
        """Did everything go well."""
        return all(trial.ok for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        lines = [f"{name} {text}" for name, text in self.versions.items()]
        lines += [f"{name}: {text}" for name, text in self.machine.items()]
        sets = ", ".join(f"{name}{'' if can else ' (cannot run here)'}" for name, can in self.sets.items())
        lines += [f"instruction sets: {sets}; picked: {self.picked}", ""]
        lines += [f"{'ok   ' if t.ok else 'WRONG'}  {t.what}: {t.detail}" for t in self.trials]
        lines += ["", "fine" if self.ok else "something is wrong: send this with a report"]
        return "\n".join(lines)


def doctor() -> Diagnosis:
    """Look around, and let every instruction set that can run step the demo's model."""
    trials: list[Trial] = []

    def attempt(what: str, work: Callable[[], str]) -> None:
        begin = time.perf_counter()
        try:
            detail = work()
        except Exception as error:  # whatever it is, it is what a report is about
            trials.append(Trial(what, False, f"{type(error).__name__}: {error}"))
        else:
            trials.append(Trial(what, True, f"{detail} ({1e3 * (time.perf_counter() - begin):.0f} ms)"))

    sets = dict(list_isas())
    results: dict[str, Any] = {}
    for name in (name for name, can in sets.items() if can):
        attempt(f"steps with {name}", lambda name=name: _stepped(name, results))  # type: ignore[misc]
    attempt("sets agree", lambda: _agree(results))
    attempt("a native file", _native)
    attempt("beside onnxruntime", _beside)
    return Diagnosis(_versions(), _machine(), sets, choose_isa(), tuple(trials))


def _signal() -> Any:
    return np.sin(0.1 * np.arange(STEPS, dtype=np.float32)).reshape(-1, 1, 1)


def _stepped(isa: str, results: dict[str, Any]) -> str:
    stream = lstm_infer.load(MODEL, isa=cast("Isa", isa)).stream()
    x = _signal()
    alone = np.stack([stream.step(frame) for frame in x])
    stream.reset()
    results[isa] = stream.run(x)
    if not np.array_equal(alone, results[isa]):
        raise AssertionError("pieces are not the whole")
    return f"{STEPS} steps one by one, the bits of the whole"


def _agree(results: dict[str, Any]) -> str:
    fused = [y for name, y in results.items() if name != "scalar"]
    if any(not np.array_equal(fused[0], y) for y in fused[1:]):
        raise AssertionError("vector sets differ in their bits")
    values = list(results.values())
    worst = max((float(np.abs(values[0] - y).max()) for y in values[1:]), default=0.0)
    if worst > ALLOWED:
        raise AssertionError(f"they differ by {worst:.1e}")
    return f"{len(values)} sets, largest difference {worst:.1e}"


def _native() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "amp.lsi"
        report = lstm_infer.convert(MODEL, path)
        return f"written, opened, {len(report.checks)} comparisons, {path.stat().st_size:,} bytes"


def _beside() -> str:
    try:
        from .verify import MissingPeerError, verify

        found = verify(MODEL, n_seeds=1)
    except MissingPeerError:
        return "not installed, nothing compared"
    if not found.ok:
        raise AssertionError("outputs differ; lstm-infer verify shows where")
    return f"{found.compared} comparisons"


def _versions() -> dict[str, str]:
    found = {"lstm_infer": lstm_infer.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, str]:
    free = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "interpreter": f"{platform.python_implementation()}{'' if free else ', free-threaded'}, {sys.executable}",
        "package": str(Path(lstm_infer.__file__).parent),
        "cores": str(os.cpu_count()),
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
