"""A streaming step, batch 1: ours beside onnxruntime, over the sizes of the project's targets.

python -m benchmarks.step [--op GRU] [--quick] [--json]
python -m benchmarks.step --precision f16|int8 [--op GRU]      # beside our f32, and onnxruntime's f32 and int8
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import step_precision
from benchmarks.common import arguments, conditions, finish, load, pinned, recurrent_model, us
from lstm_infer.cli.bench import bench_step
from lstm_infer.cli.profile import bounds
from lstm_infer.cli.verify import open_session
from lstm_infer.program.precision import KINDS

# (input, hidden, layers): onnxruntime's `run` over our step with a new array. Set from a day of measuring on one
# Zen 5 core with AVX-512; for LSTM only.
TARGETS = {
    (1, 16, 1): 30.0, (1, 40, 1): 22.0, (32, 64, 1): 13.0, (128, 128, 1): 5.0, (257, 128, 2): 2.8,
    (256, 256, 2): 1.45, (512, 512, 1): 1.3, (512, 512, 3): 2.1, (1024, 1024, 2): 1.35,
}  # fmt: skip
QUICK = ((1, 16, 1), (32, 64, 1), (128, 128, 1))
CALL_US, DISTANCE, DISTANCE_FROM = 0.25, 1.15, 128
"""A step with out= may take so many µs, and so many times what no step can go below, from so many units on."""


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--op", choices=("LSTM", "GRU", "RNN"), default="LSTM")
    parser.add_argument("--precision", choices=KINDS, default="f32", help="how ours holds its weights (default f32)")
    args = parser.parse_args()
    if args.precision != "f32":
        return step_precision.measure(args, QUICK if args.quick else tuple(TARGETS), CALL_US)
    rounds = 2 if args.quick else args.rounds
    rows, data, ok = [], [], True
    with pinned() as core:
        for size in QUICK if args.quick else tuple(TARGETS):
            source = recurrent_model(*size, op=args.op)
            model = load(source, isa=args.isa)
            row = bench_step(model, open_session(source), rounds=rounds)
            least = bounds(model)
            limit = max(least.reading, least.multiplying)
            distance = max(row.ours_out.median - CALL_US, 0) / limit if row.ours_out else 0.0
            near = "" if size[1] < DISTANCE_FROM else "reached" if distance <= DISTANCE else "missed"
            target = TARGETS[size] if args.op == "LSTM" else None
            agree = row.excess is not None and row.excess <= 1
            ok &= agree
            verdict = (
                "WRONG"
                if not agree
                else ""
                if target is None
                else "reached"
                if (row.ratio or 0) >= target
                else "missed"
            )
            rows.append(
                [str(size), us(row.ours), us(row.ours_out), us(row.run), us(row.io_binding), f"{row.ratio or 0:.2f}x",
                 "-" if target is None else f"{target:g}x", verdict, f"{limit:.2f}", f"{distance:.2f}x", near,
                 f"{row.ours.p99 / row.ours.median:.2f}" if row.ours else "-"]
            )  # fmt: skip
            found = {
                "ratio": row.ratio,
                "target": target,
                "verdict": verdict,
                "bounds": asdict(least),
                "distance": distance,
            }
            data.append({"size": size, **asdict(row), **found})
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["at best"] = (
        f"all weights read once at the rate of this working set, or all multiply-adds at the peak, measured in this run; "
        f"beside: (out= less {CALL_US} µs) over that, at most {DISTANCE}x from {DISTANCE_FROM} units on"
    )
    head = [
        f"{args.op}, µs a step", "ours", "out=", "ort run", "io_binding", "ratio", "target", "", "at best", "beside", "",
        "p99/median",
    ]  # fmt: skip
    return finish(args, head, rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
