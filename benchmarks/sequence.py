"""Whole sequences, and many streams stepped together: ours beside onnxruntime, one thread.

python -m benchmarks.sequence [--op GRU] [--quick] [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import GATES, arguments, conditions, finish, load, pinned, recurrent_model, us
from lstm_infer import Model
from lstm_infer.cli.machine import peak, reading
from lstm_infer.cli.verify import compare, open_session
from lstm_infer.drive.timing import Timing, interleave

SIZES = ((32, 64, 1), (128, 128, 1), (256, 256, 2), (512, 512, 1), (1024, 1024, 2))
QUICK = SIZES[:2]
STREAMS = 64
# (time steps, batch): onnxruntime's `run` over our `Model.run`, up to 256 units and above
DISTANCE, DISTANCE_TOGETHER, DISTANCE_FROM = 1.15, 1 / 0.92, 128
"""What one signal, and many streams in a step, may take beside what no call can go below, from so many units on."""
TARGETS = {(100, 1): (1.5, 1.15), (100, 32): (1.2, 1.2)}


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--op", choices=tuple(GATES), default="LSTM")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    rows, data, ok = [], [], True
    with pinned() as core:
        for size in QUICK if args.quick else SIZES:
            source = recurrent_model(*size, op=args.op)
            model, session = load(source, isa=args.isa), open_session(source)
            for T, B in (*TARGETS, (1, STREAMS)):
                feeds = drawn(model, T, B)
                ours = together(model, feeds, B) if T == 1 else whole(model, feeds)
                excess = (
                    compare(ours(), session.run(None, feeds)[0])[1] if T > 1 else first_excess(model, session, feeds)
                )
                timings = interleave({"ours": ours, "run": theirs(session, feeds)}, rounds)
                ratio = timings["run"].median / timings["ours"].median
                low, high = TARGETS.get((T, B), (None, None))
                target = low if size[1] <= 256 else high
                ok &= excess <= 1
                gflops = operations(args.op, size, T * B) / timings["ours"].median / 1e3
                limit = at_best(model.isa, args.op, size, T, B)
                beside = timings["ours"].median / limit
                most = DISTANCE_TOGETHER if T == 1 else DISTANCE if B == 1 else None
                near = "" if most is None or size[1] < DISTANCE_FROM else "reached" if beside <= most else "missed"
                verdict = (
                    "WRONG" if excess > 1 else "" if target is None else "reached" if ratio >= target else "missed"
                )
                rows.append(
                    [str(size), f"T={T}, B={B}", us(timings["ours"]), us(timings["run"]), f"{ratio:.2f}x",
                     "-" if target is None else f"{target:g}x", verdict, f"{gflops:.0f}", f"{limit:.2f}",
                     f"{beside:.2f}x", near]
                )  # fmt: skip
                data.append({**row(size, T, B, timings, ratio, gflops, excess), "at_best": limit, "beside": beside})
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["method"] += f"; T > 1: Model.run; T = 1: {STREAMS} streams in one step with out="
    said["at best"] = (
        "all multiply-adds at the peak of our matrix product, or those with the inputs and the recurrent weights read once "
        f"a step; measured in this run; beside: ours over that, at most {DISTANCE}x for one signal, "
        f"{DISTANCE_TOGETHER:.2f}x for {STREAMS} streams"
    )
    head = [f"{args.op}, µs a call", "", "ours", "ort run", "ratio", "target", "", "GFLOP/s", "at best", "beside", ""]
    return finish(args, head, rows, said, data, ok)


def drawn(model: Model, T: int, B: int) -> dict[str, Any]:
    """Numbers in -1..1 for every input."""
    rng = np.random.default_rng(T + B)
    shapes = {
        i.name: [T if a == i.time_axis else B if n is None else n for a, n in enumerate(i.shape)] for i in model.inputs
    }
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def whole(model: Model, feeds: dict[str, Any]) -> Callable[[], Any]:
    """`Model.run` on everything, the last states too, as onnxruntime gives them."""
    return lambda: model.run(feeds)["y"]


def together(model: Model, feeds: dict[str, Any], B: int) -> Callable[[], Any]:
    """One step of all streams."""
    stream = model.stream(batch=B, initial={name: value for name, value in feeds.items() if name != "x"})
    x = np.ascontiguousarray(feeds["x"][0])
    out = np.empty_like(stream.step(x))
    return lambda: stream.step(x, out=out)


def theirs(session: Any, feeds: dict[str, Any]) -> Callable[[], Any]:
    """onnxruntime on the same feeds, all outputs."""
    return lambda: session.run(None, feeds)


def first_excess(model: Model, session: Any, feeds: dict[str, Any]) -> float:
    """The first step of fresh streams against onnxruntime's."""
    stream = model.stream(
        batch=feeds["x"].shape[1], initial={name: value for name, value in feeds.items() if name != "x"}
    )
    return compare(stream.step(feeds["x"][0]), session.run(None, feeds)[0][0])[1]


def operations(op: str, size: tuple[int, int, int], frames: int) -> float:
    """Multiplications and additions of all matrix products."""
    inputs, hidden, layers = size
    return 2.0 * frames * GATES[op] * hidden * (inputs + hidden + (layers - 1) * 2 * hidden)


def at_best(isa: str, op: str, size: tuple[int, int, int], T: int, B: int) -> float:
    """Microseconds that no call can go below: everything multiplied at the peak; or the inputs of all steps multiplied at
    the peak, then the recurrent weights read once a step, at the rate of that working set."""
    _, hidden, layers = size
    macs_a_ns = peak(isa)
    all_of_it = operations(op, size, T * B) / 2 / macs_a_ns
    recurrent = 4 * GATES[op] * hidden * hidden  # bytes a layer: each goes through all steps before the next begins
    projected = operations(op, size, T * B) / 2 - layers * GATES[op] * hidden * hidden * T * B
    step_by_step = projected / macs_a_ns + layers * T * recurrent / reading(isa, recurrent)
    return max(all_of_it, step_by_step) / 1e3


def row(
    size: tuple[int, int, int], T: int, B: int, timings: dict[str, Timing], ratio: float, gflops: float, excess: float
) -> dict[str, Any]:
    """As JSON has it."""
    sides = {name: asdict(timing) for name, timing in timings.items()}
    return {"size": size, "T": T, "B": B, **sides, "ratio": ratio, "gflops": gflops, "excess": excess}


if __name__ == "__main__":
    sys.exit(main())
