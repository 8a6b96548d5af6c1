"""Files that onnxruntime's quantiser wrote, ours beside onnxruntime: whole runs of 1, 20 and 200 steps, and streamed steps.

python -m benchmarks.quantised [--quick] [--json]     files are made in a temporary folder by tests/quantised_models.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import ROOT, arguments, conditions, finish, load, pinned, us
from lstm_infer import Model
from lstm_infer.cli.verify import open_session
from lstm_infer.drive.timing import interleave

sys.path.insert(0, str(ROOT / "tests"))

from quantised_models import CASES, Case, feeds, written

STEPS = (1, 20, 200)
ALLOWED = 0.01
"""Of the largest output: a value halfway between two steps of 8 bits may go to either."""


def main() -> int:
    """Measure and print."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rounds, rows, data, ok, isa = 2 if args.quick else args.rounds, [], [], True, ""
    with tempfile.TemporaryDirectory() as folder, pinned() as core:
        for case in CASES[:2] if args.quick else CASES:
            path = written(case, Path(folder))
            model, session = load(path, isa=args.isa), open_session(path.read_bytes())
            isa = model.isa
            for what, ours, theirs in calls(case, model, session):
                mine, other = ours(), theirs()
                wrong = bool(np.abs(mine - other).max() > ALLOWED * np.abs(other).max())
                ok &= not wrong
                timings = interleave({"ours": ours, "run": theirs}, rounds)
                ratio = timings["run"].median / timings["ours"].median
                verdict = "WRONG" if wrong else "reached" if ratio >= 1 else "missed"
                rows.append([case.name, what, us(timings["ours"]), us(timings["run"]), f"{ratio:.2f}x", "1x", verdict])
                sides = {name: asdict(timing) for name, timing in timings.items()}
                data.append({"model": case.name, "what": what, **sides, "ratio": ratio, "wrong": wrong})
        said = conditions(isa, threads=1, core=core, rounds=rounds)
    return finish(args, ["model, µs a call", "", "ours", "ort run", "ratio", "target", ""], rows, said, data, ok)


def calls(case: Case, model: Model, session: Any) -> list[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    """(what, ours, onnxruntime's); a streamed step goes on from state to state, onnxruntime's is the first one."""
    found = []
    for T in STEPS:
        given = feeds(case, T)
        found.append((f"T={T}", _whole(model, given), _theirs(session, given)))
    if case.net in ("lstm", "gru"):
        given = feeds(case, 1)
        found.append(("step", _step(model, given["x"][0]), _theirs(session, given)))
    return found


def _whole(model: Model, given: dict[str, Any]) -> Callable[[], Any]:
    return lambda: next(iter(model.run(given).values()))


def _step(model: Model, frame: Any) -> Callable[[], Any]:
    """The first call gives the first step."""
    stream = model.stream()
    return lambda: stream.step(frame)


def _theirs(session: Any, given: dict[str, Any]) -> Callable[[], Any]:
    return lambda: session.run(None, given)[0]


if __name__ == "__main__":
    sys.exit(main())
