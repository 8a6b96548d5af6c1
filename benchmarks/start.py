"""A new process: import of lstm_infer, load of a native file, stream and first step, NumPy being there already.

python -m benchmarks.start [--rounds N] [--core N] [--size N] FILE.lsi ...

Least and median of all rounds, file by file in turn, in milliseconds; a first process of each is not counted, since it writes
the bytecode. Needs NumPy and the package alone, so that it runs where onnx is not installed: python benchmarks/start.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

PARTS = ("import", "load", "stream", "step", "all")
WORKER = """
import sys
from time import perf_counter
import numpy as np
frames = {}
for said in sys.argv[2:]:
    name, dtype, dims = said.rsplit(":", 2)
    frames[name] = np.zeros([int(n) for n in dims.split(",") if n], dtype)
frame = next(iter(frames.values())) if len(frames) == 1 else frames
begin = perf_counter()
import lstm_infer
imported = perf_counter()
model = lstm_infer.load(sys.argv[1])
loaded = perf_counter()
stream = model.stream()
opened = perf_counter()
stream.step(frame)
end = perf_counter()
times = imported - begin, loaded - imported, opened - loaded, end - opened, end - begin
print(*times, sum(name.startswith("lstm_infer") for name in sys.modules), "onnx" in sys.modules)
"""


def frame(path: Path, size: int) -> list[str]:
    """A step for each streamed input, as the worker reads them. size: that of axes that are open, but time and batch."""
    import lstm_infer

    model = lstm_infer.load(path)
    streamed, found = set(model.streaming.inputs), []
    for port in model.inputs:
        if port.name in streamed:
            one = port.batch_axis, port.time_axis
            dims = [1 if a in one else size if n is None else n for a, n in enumerate(port.shape)]
            found.append(f"{port.name}:{port.dtype.name}:{','.join(map(str, dims))}")
    return found


def once(path: Path, frames: list[str], core: int | None) -> tuple[list[float], list[str]]:
    """Milliseconds of the parts, and what else the process said."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    command = [sys.executable, "-c", WORKER, str(path), *frames]
    ran = subprocess.run(
        command, env=kept, capture_output=True, text=True, check=True, preexec_fn=pin if core is not None else None
    )
    said = ran.stdout.split()
    return [1e3 * float(number) for number in said[: len(PARTS)]], said[len(PARTS) :]


def main() -> int:
    """Measure and print; the status is 1 where a process imported onnx."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.lsi")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--core", type=int, help="pin the processes to this one")
    parser.add_argument(
        "--size", type=int, default=1, help="of axes that a file leaves open, other than time and batch"
    )
    args = parser.parse_args()
    frames = {path: frame(path, args.size) for path in args.files}
    times: dict[Path, list[list[float]]] = {path: [] for path in args.files}
    more = {}
    for turn in range(args.rounds + 1):
        for path in args.files:
            took, more[path] = once(path, frames[path], args.core)
            times[path] += [took] if turn else []
    there = "installed, not imported" if importlib.util.find_spec("onnx") else "not installed"
    print(f"Python {sys.version.split()[0]}, {args.rounds} processes a file, ms; onnx: {there}")
    print(f"{'':24s} {'least':>7s} {'median':>7s}  least of each part: {', '.join(PARTS[:-1])}; modules of ours")
    for path, rows in times.items():
        columns = list(zip(*rows, strict=True))
        parts = " ".join(f"{min(column):.2f}" for column in columns[:-1])
        print(f"{path.stem:24s} {min(columns[-1]):7.2f} {median(columns[-1]):7.2f}  {parts}; {more[path][0]}")
    return int(any(said[1] != "False" for said in more.values()))


if __name__ == "__main__":
    sys.exit(main())
