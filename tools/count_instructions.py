"""Count the instructions of one call on the hot roads of a stream, and compare them with what is allowed.

python tools/count_instructions.py [--write] [--json]

Needs valgrind (with its headers) and a C compiler. A Python under callgrind makes N calls of each road, then 2 N; the
difference over N is exact and the same in every run, whoever else is on the machine. Counted are the instructions of our
own modules: of the kernels (`_core`) and of the call (`_stream`); those of Python, NumPy and libc are shown only. All on
the set avx2: valgrind knows no wider one. Counts belong to a compiler; benchmarks/instructions.json says to which, and
--write renews it. Exit status 1 where a count is more than 8 % above.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "instructions.json"
HEADROOM = 1.08
N = 100
ISA = "avx2"

# name: (net of benchmarks.nets, batch, steps a call, in dicts, out= given)
ROADS = {
    "plain, out=": ("plain", 1, 1, False, True),
    "plain, a new array": ("plain", 1, 1, False, False),
    "plain, dict": ("plain", 1, 1, True, True),
    "two inputs, two outputs": ("two inputs, two outputs", 1, 1, True, True),
    "batch-first": ("batch-first", 1, 1, False, True),
    "batch-first, 8 signals": ("batch-first", 8, 1, False, True),
    "frame model": ("frame model", 1, 1, False, True),
    "counter": ("counter", 1, 1, False, True),
    "an ArgMax beside": ("ArgMax beside", 1, 1, True, True),
    "GRU": ("GRU", 1, 1, False, True),
    "plain, chunk of 16": ("plain", 1, 16, False, True),
    "batch-first, 8 signals, chunk of 16": ("batch-first", 8, 16, False, True),
}

SWITCH = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void end(const char *name) { CALLGRIND_STOP_INSTRUMENTATION; CALLGRIND_DUMP_STATS_AT(name); }
"""


# ---- inside valgrind: neither onnx nor the benchmarks are imported here ----


def worker(folder: Path) -> None:
    """Make the calls, N and 2 N of each road."""
    import lstm_infer

    switch = ctypes.CDLL(str(folder / "switch.so"))
    models = {net: lstm_infer.load(folder / f"{net}.onnx", isa=ISA) for net, *_ in ROADS.values()}
    for index, (net, batch, steps, dicts, filled) in enumerate(ROADS.values()):
        model = models[net]
        stream = model.stream(batch=batch)
        call, x, out = prepared(model, stream, batch, steps, dicts)
        for n in (1, N, 2 * N):  # the first call is another's: it takes scratch, and names are looked up
            switch.begin()
            calls(call, x, n, out if filled else None)
            switch.end(f"{index}:{n}".encode())


def prepared(model: Any, stream: Any, batch: int, steps: int, dicts: bool) -> tuple[Callable[..., Any], Any, Any]:
    """The call, what goes in, and what is filled."""
    import numpy as np

    rng, parts = np.random.default_rng(0), {}
    for port in model.inputs:
        if port.name in model.streaming.inputs:
            sizes = {port.batch_axis: batch, port.time_axis: steps}
            shape = [sizes.get(axis, n) for axis, n in enumerate(port.shape) if steps > 1 or axis != port.time_axis]
            parts[port.name] = rng.uniform(-1, 1, shape).astype(port.dtype)
    x: Any = parts if dicts else next(iter(parts.values()))
    call = stream.run if steps > 1 else stream.step
    made = call(x)
    out = {name: np.empty_like(y) for name, y in made.items()} if isinstance(made, dict) else np.empty_like(made)
    return call, x, out


def calls(call: Callable[..., Any], x: Any, n: int, out: Any) -> None:
    """n calls."""
    if out is None:
        for _ in repeat(None, n):
            call(x)
    else:
        for _ in repeat(None, n):
            call(x, out=out)


# ---- outside ----


def count(folder: Path) -> dict[str, dict[str, float]]:
    """Instructions of one call of each road: of the kernels, the call, and all else."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.nets import NETS

    for net, *_ in ROADS.values():
        (folder / f"{net}.onnx").write_bytes(NETS[net].make())
    (folder / "switch.c").write_text(SWITCH)
    compiler = shutil.which("gcc") or shutil.which("cc") or "cc"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(folder / "switch.so"), str(folder / "switch.c")], check=True
    )
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", sys.executable,
         str(Path(__file__).resolve()), "--worker", str(folder)],
        env={**os.environ, "LSTM_INFER_ISA": ISA, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        sys.exit(f"the Python under valgrind ended with {ran.returncode}:\n{ran.stderr[-3000:]}")
    found: dict[str, dict[str, int]] = {}
    for path in folder.glob("out.*"):
        text = path.read_text()
        trigger = re.search(r"Client Request: (\d+:\d+)", text)
        if trigger:
            found[trigger[1]] = by_module(text)
    return {
        road: {
            part: (found[f"{i}:{2 * N}"][part] - found[f"{i}:{N}"][part]) / N for part in ("kernels", "call", "else")
        }
        for i, road in enumerate(ROADS)
    }


def by_module(text: str) -> dict[str, int]:
    """Instructions that a dump of callgrind counts, by our two modules and all others.

    A line of costs belongs to the object named last (ob=, in full the first time, by number then); the line behind a
    calls= counts what the callee did, which stands again under the callee.
    """
    names: dict[str, str] = {}
    found = {"kernels": 0, "call": 0, "else": 0}
    part, inclusive = "else", False
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            number, _, name = line.partition("=")[2].partition(" ")
            names[number] = name or names[number]
            if line.startswith("ob="):
                file = Path(names[number]).name
                ours = "lstm_infer" in names[number]
                part = (
                    "kernels"
                    if ours and file.startswith("_core.")
                    else "call"
                    if ours and "_stream." in file
                    else "else"
                )
        elif line.startswith("calls="):
            inclusive = True
        elif re.match(r"[+\-*\d]", line):
            if not inclusive:
                found[part] += int(line.split()[-1])
            inclusive = False
    return found


def compiled_by() -> str:
    """The compiler of the kernels."""
    from lstm_infer.cli.conditions import compiler

    return compiler()


def main() -> int:
    """Count, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="renew what is stored")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker)
        return 0
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        found = count(Path(folder))
    if args.write:
        counts = {road: {part: round(parts[part]) for part in ("kernels", "call")} for road, parts in found.items()}
        STORED.write_text(json.dumps({"compiler": compiled_by(), "isa": ISA, "counts": counts}, indent=2) + "\n")
    stored = json.loads(STORED.read_text())
    above = [
        (road, part)
        for road, parts in found.items()
        for part in ("kernels", "call")
        if parts[part] > HEADROOM * stored["counts"][road][part]
    ]
    if args.json:
        print(json.dumps({"found": found, "stored": stored, "above": above}, indent=2))
        return int(bool(above))
    print(f"{'instructions a call, ' + ISA:36} {'kernels':>8} {'stored':>8} {'call':>6} {'stored':>7} {'else':>6}")
    for road, parts in found.items():
        was = stored["counts"][road]
        marks = "".join(f"  {part}: {parts[part] / was[part]:.2f}x" for r, part in above if r == road)
        print(
            f"{road:36} {parts['kernels']:8.0f} {was['kernels']:8} {parts['call']:6.0f} {was['call']:7} {parts['else']:6.0f}"
            + marks
        )
    print(
        f"stored with {stored['compiler']}, here {compiled_by()}; else: Python, NumPy, libc; allowed: {HEADROOM:.2f}x"
    )
    if above:
        print(f"{len(above)} counts are above; find out why, or renew them with --write and say why in the commit")
    return int(bool(above))


if __name__ == "__main__":
    sys.exit(main())
