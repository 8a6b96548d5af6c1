"""A streaming step with fewer bytes: ours in f16 or int8 beside our f32, and onnxruntime's f32 and int8, all by turns.

Run by python -m benchmarks.step --precision f16|int8.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.common import conditions, finish, load, pinned, recurrent_model
from lstm_infer.cli.bench import step_calls
from lstm_infer.cli.profile import bounds
from lstm_infer.cli.quantised import quantised_session
from lstm_infer.cli.verify import open_session
from lstm_infer.drive.timing import Timing, interleave

__all__ = ["measure"]

FASTER = 1.7
"""Target of onnxruntime's int8 `io_binding` over ours in int8, at every size."""
OF_F32 = {"f16": {(128, 128, 1): 0.65, (257, 128, 2): 0.6}, "int8": {(256, 256, 2): 0.45}}
"""At most so much of our f32 step, from this size on."""


def measure(args: argparse.Namespace, sizes: Sequence[tuple[int, int, int]], call_us: float) -> int:
    """Measure and print; exit status 1 where outputs differ by more than is allowed."""
    rounds = 2 if args.quick else args.rounds
    rows, data, ok, missing, limit_of_f32 = [], [], True, "", None
    with pinned() as core:
        for size in sizes:
            limit_of_f32 = OF_F32.get(args.precision, {}).get(size, limit_of_f32)
            source = recurrent_model(*size, op=args.op)
            model, plain = load(source, isa=args.isa, precision=args.precision), load(source, isa=args.isa)
            session, (int8, why) = open_session(source), quantised_session(source)
            missing = missing or why
            row, calls = step_calls(model, session, int8=int8)
            _, calls_f32 = step_calls(plain, None)
            calls |= {"f32": calls_f32["ours"], "f32_out": calls_f32["ours_out"]}
            times = interleave(calls, rounds)
            least, least_f32 = bounds(model), bounds(plain)
            agree = row.excess is not None and row.excess <= 1
            ok &= agree
            of_f32 = _ratio(times, "ours_out", "f32_out")
            over_int8 = _ratio(times, "int8_binding", "ours_out")
            beside = max(times["ours_out"].median - call_us, 0) / least.reading if least.reading else 0.0
            reached = (
                "" if limit_of_f32 is None or of_f32 is None else "reached" if of_f32 <= limit_of_f32 else "missed"
            )
            if args.precision == "int8" and over_int8 is not None and over_int8 < FASTER:
                reached = "missed"
            names = ["f32", "f32_out", "ours", "ours_out", "run", "io_binding", "int8_run", "int8_binding"]
            rows.append(
                [str(size), *(_us(times.get(name)) for name in names), _x(of_f32),
                 "-" if limit_of_f32 is None else f"{limit_of_f32:g}x", _x(over_int8), reached if agree else "WRONG",
                 f"{least.reading:.2f}", f"{beside:.2f}x", f"{least.reading / least_f32.reading:.2f}x"]
            )  # fmt: skip
            data.append(
                {"size": size, "times": {name: asdict(one) for name, one in times.items()}, "of_f32": of_f32,
                 "of_f32_target": limit_of_f32, "int8_over_ours": over_int8, "excess": row.excess, "bounds": asdict(least),
                 "bounds_f32": asdict(least_f32), "held": [asdict(layer) for layer in model.layers]}
            )  # fmt: skip
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["precision"] = f"ours {args.precision}; onnxruntime's int8: " + (
        missing or "quantize_dynamic, signed 8-bit weights"
    )
    said["of f32"] = "out= over out=; ort int8 / ours: its io_binding over out="
    said["reading"] = f"the packed weights read once, measured in this run; beside: (out= less {call_us} µs) over that"
    head = [
        f"{args.op}, µs a step", "f32", "out=", args.precision, "out=", "ort run", "io_binding", "ort int8 run", "io_binding",
        "of f32", "target", "ort int8 / ours", "", "reading", "beside", "of f32's",
    ]  # fmt: skip
    return finish(args, head, rows, said, data, ok)


def _ratio(times: dict[str, Timing], over: str, under: str) -> float | None:
    """Median of the ratios of rounds that were taken side by side."""
    if over not in times or under not in times:
        return None
    pairs = sorted(a / b for a, b in zip(times[over].rounds, times[under].rounds, strict=True))
    return (pairs[len(pairs) // 2] + pairs[(len(pairs) - 1) // 2]) / 2


def _us(timing: Timing | None) -> str:
    return "-" if timing is None else f"{timing.median:.2f}" if timing.median < 100 else f"{timing.median:.0f}"


def _x(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
