"""Loading, and the first stream with its first step, for each folder of real files: CPU time, least of several rounds.

python -m benchmarks.load [--against FOLDER] [--each] [--quick] [--json] [FOLDER ...]

FOLDER: where files lie; by default the real models, the exports beside them, and tests/zoo/files.
--against: a folder that holds another `lstm_infer` (a checkout's src, a site-packages); both take turns, file by file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lstm_infer
from benchmarks.common import ROOT, arguments, conditions, finish, models_folder
from lstm_infer.isa import choose_isa

WORKER = Path(__file__).with_name("load_worker.py")
METHOD = "CPU time of one process an engine, least of {} rounds, file by file in turn; calls: of Python functions, load and stream"


class Engine:
    """A process that measures one engine."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, path: Path, *, calls: bool = False) -> dict[str, Any]:
        """What it says of a file."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"path": str(path), "calls": calls}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process that measures {self.folder} ended at {path}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """No more paths."""
        self.process.communicate()


@dataclass
class Found:
    """What one engine needs for one file: milliseconds, and function calls."""

    load: float = float("inf")
    first: float = float("inf")
    calls: int = 0
    said: str = ""

    def take(self, answer: dict[str, Any]) -> None:
        """The least of all rounds: whatever else runs on the machine only adds."""
        self.load = min(self.load, 1e3 * answer["load"])
        self.first = min(self.first, 1e3 * answer["first"])
        self.said = answer["said"]


@dataclass
class Folder:
    """The files of a folder, and what each engine needs for them."""

    path: Path
    files: dict[Path, list[Found]] = field(default_factory=dict)

    def sums(self, engine: int) -> Found:
        """All files together."""
        found = [both[engine] for both in self.files.values()]
        return Found(sum(f.load for f in found), sum(f.first for f in found), sum(f.calls for f in found))


def measure(folders: list[Path], engines: list[Engine], rounds: int) -> list[Folder]:
    """Every file in every round by every engine, one after the other."""
    found = [Folder(path, {f: [Found() for _ in engines] for f in sorted(path.glob("*.onnx"))}) for path in folders]
    files = {file: both for folder in found for file, both in folder.files.items()}
    for turn in range(rounds):
        for file, both in files.items():
            for engine, one in list(zip(engines, both, strict=True))[:: 1 if turn % 2 else -1]:
                one.take(engine.ask(file))
    for file, both in files.items():
        for engine, one in zip(engines, both, strict=True):
            one.calls = engine.ask(file, calls=True)["calls"]
    return found


def _texts(what: str, both: list[Found]) -> list[str]:
    """A row of the table: this engine's figures, and beside them the other's and how many times its they are."""
    row = [what]
    for name, form in (("load", ".1f"), ("first", ".1f"), ("calls", "d")):
        now, *before = (getattr(one, name) for one in both)
        row.append(format(now, form))
        for other in before:
            row += [format(other, form), f"{now / other:.2f}x" if other else "-"]
    said = {one.said for one in both}
    return [*row, " / ".join(sorted(said)) if any(said) else ""]


def _head(against: bool) -> list[str]:
    parts = [["load, ms"], ["first stream, ms"], ["calls"]]
    return ["", *(text for part in parts for text in (part + ["before", "ratio"] if against else part)), ""]


def main() -> int:
    """Measure and print; the status is 1 where the files of a folder take longer than with the other engine."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="where files lie")
    parser.add_argument("--against", metavar="FOLDER", help="a folder that holds another lstm_infer")
    parser.add_argument("--each", action="store_true", help="a row for every file")
    args = parser.parse_args()
    models = models_folder()
    folders = args.folders or [models, models.parent / "exports", ROOT / "tests" / "zoo" / "files"]
    engines = [Engine(str(Path(lstm_infer.__file__).parents[1])), *([Engine(args.against)] if args.against else [])]
    rounds = 2 if args.quick else args.rounds
    found = measure(folders, engines, rounds)
    for engine in engines:
        engine.close()
    rows, data, slower = [], [], False
    for folder in found:
        sums = [folder.sums(i) for i in range(len(engines))]
        slower |= any(sums[0].load > one.load or sums[0].first > one.first for one in sums[1:])
        rows.append(_texts(f"{folder.path.name}, {len(folder.files)} files", sums))
        for file, both in folder.files.items():
            data.append({"folder": str(folder.path), "file": file.name, "engines": [vars(one) for one in both]})
            rows += [_texts("  " + file.stem, both)] if args.each else []
    said = conditions(choose_isa(None), threads=1, core=None, rounds=rounds)
    said = {name: said[name] for name in ("CPU", "system", "versions")} | {"method": METHOD.format(rounds)}
    finish(args, _head(len(engines) > 1), rows, said, data, True)
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
