"""Many live streams of one model: opening, forking, saving, memory; and that each goes on with its own bits.

python -m benchmarks.streams [--streams N] [--quick] [--json] [MODEL]

MODEL: silero_vad of the real models unless another file is named; it has to stream.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import arguments, conditions, finish, load, models_folder, pinned
from benchmarks.models import OPTIONS
from lstm_infer import Model, Stream
from lstm_infer.drive.inputs import Inputs

MANY, QUICK = 100_000, 10_000
SAMPLED = 200
"""Streams whose every output is compared with that of a stream stepped alone, bit for bit."""
STEPS = 3
FRAMES = 64
"""Different frames; a stream's number and its step say which it is fed."""
CALLS = 300
# What a stream may cost: microseconds, and bytes beyond its state.
OPEN_US, SAVE_US, SAVE_US_A_KB, BESIDE_STATE = 5.0, 3.0, 0.2, 2000
"""Targets: open (second and later) and fork; snapshot and restore, and what they may add a kB of state; memory."""


def times(call: Callable[[], object], rounds: int) -> float:
    """Microseconds a call of the thread's own time: the median over the rounds."""
    found = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        for _ in repeat(None, CALLS):
            call()
        found.append((time.thread_time_ns() - began) / CALLS / 1e3)
    return statistics.median(found)


def first_open(path: Path, isa: str | None) -> tuple[float, Model]:
    """Microseconds until the first stream of a model just loaded is there, and the model."""
    model = load(path, isa=isa, **OPTIONS.get(path.stem, {}))
    began = time.thread_time_ns()
    model.stream()
    return (time.thread_time_ns() - began) / 1e3, model


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError):
        return None


def frames(model: Model) -> list[Any]:
    """What the streams are fed: arrays, or dicts where there are several inputs."""
    drawn, rng = Inputs(model), np.random.default_rng(0)
    names = model.streaming.inputs
    made = [drawn.draw(rng, *drawn.sizes(1, 1)) for _ in range(FRAMES)]
    return [one[names[0]] if len(names) == 1 else {name: one[name] for name in names} for one in made]


def arrays(result: Any) -> Iterator[np.ndarray[Any, Any]]:
    """What a step returned, output by output."""
    yield from result.values() if isinstance(result, dict) else [result]


def stepped(model: Model, streams: list[Stream], fed: list[Any]) -> tuple[int, float]:
    """All streams step by turns; how many of the sampled ones differ from a stream alone, and microseconds a step."""
    sample = np.unique(np.linspace(0, len(streams) - 1, SAMPLED).astype(int)).tolist()
    got: dict[int, list[Any]] = {index: [] for index in sample}
    began = time.thread_time_ns()
    for t in range(STEPS):
        for index, stream in enumerate(streams):
            y = stream.step(fed[(index + t * 7) % FRAMES])
            if index in got:
                got[index].append(y)
    took = (time.thread_time_ns() - began) / 1e3 / (STEPS * len(streams))
    wrong = 0
    for index, results in got.items():
        alone = model.stream()
        for t, result in enumerate(results):
            want = alone.step(fed[(index + t * 7) % FRAMES])
            wrong += any(a.tobytes() != b.tobytes() for a, b in zip(arrays(result), arrays(want), strict=True))
    return wrong, took


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, help=f"how many (default {MANY:,})")
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="an .onnx file that streams")
    args = parser.parse_args()
    rounds, n = 3 if args.quick else args.rounds, args.streams or (QUICK if args.quick else MANY)
    path = args.model or models_folder() / "silero_vad.onnx"
    with pinned() as core:
        first, model = first_open(path, args.isa)
        fed = frames(model)
        stream = model.stream()
        stream.step(fed[0])
        snapshot = stream.snapshot()
        took = {
            "open": times(model.stream, rounds), "fork": times(stream.fork, rounds),
            "snapshot": times(stream.snapshot, rounds), "restore": times(lambda: stream.restore(snapshot), rounds),
            "reset": times(stream.reset, rounds),
        }  # fmt: skip
        gc.collect()
        before = resident()
        streams = [model.stream() for _ in range(n)]
        after = resident()
        wrong, step = stepped(model, streams, fed)
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["method"] = (
        f"the thread's own time, median of {rounds} rounds of {CALLS} calls; {n:,} streams of {path.name}, {STEPS} steps "
        f"each by turns, {min(SAMPLED, n)} of them compared with a stream alone, bit for bit"
    )
    each = stream.nbytes
    grown = None if before is None or after is None else (after - before) / n
    save = SAVE_US + SAVE_US_A_KB * each / 1000
    found: list[tuple[str, float | None, float | None, str]] = [
        ("open, the first", first, None, "µs"), ("open, later", took["open"], OPEN_US, "µs"),
        ("fork", took["fork"], OPEN_US, "µs"), ("snapshot", took["snapshot"], save, "µs"),
        ("restore", took["restore"], save, "µs"), ("reset", took["reset"], None, "µs"),
        ("step by turns", step, None, "µs"), ("a stream, nbytes", each, None, "bytes"),
        ("a stream, resident", grown, each + BESIDE_STATE, "bytes"),
    ]  # fmt: skip
    rows = [[what, *_texts(value, target, unit)] for what, value, target, unit in found]
    rows.append(["streams whose bits differ", str(wrong), "0", "reached" if not wrong else "WRONG"])
    data = {
        "streams": n, "wrong": wrong,
        "found": [{"what": what, "value": value, "target": target, "unit": unit} for what, value, target, unit in found],
    }  # fmt: skip
    return finish(args, [path.stem, "", "target", ""], rows, said, data, not wrong)


def _texts(value: float | None, target: float | None, unit: str) -> list[str]:
    """Value, target, verdict."""
    form = ",.0f" if unit == "bytes" else ".2f"
    shown = "-" if value is None else f"{value:{form}} {unit}"
    if value is None or target is None:
        return [shown, "-" if target is None else f"{target:{form}}", ""]
    return [shown, f"{target:{form}}", "reached" if value <= target else "missed"]


if __name__ == "__main__":
    sys.exit(main())
