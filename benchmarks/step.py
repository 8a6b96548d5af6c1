"""A streaming step, batch 1: ours beside onnxruntime, over the sizes of the project's targets.

python -m benchmarks.step [--op GRU] [--quick] [--json]
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import arguments, conditions, finish, load, pinned, recurrent_model, us
from lstm_infer.cli.bench import bench_step
from lstm_infer.cli.verify import open_session

# (input, hidden, layers): onnxruntime's `run` over our step with a new array. Set from a day of measuring on one
# Zen 5 core with AVX-512; for LSTM only.
TARGETS = {
    (1, 16, 1): 30.0, (1, 40, 1): 22.0, (32, 64, 1): 13.0, (128, 128, 1): 5.0, (257, 128, 2): 2.8,
    (256, 256, 2): 1.45, (512, 512, 1): 1.3, (512, 512, 3): 2.1, (1024, 1024, 2): 1.35,
}  # fmt: skip
QUICK = ((1, 16, 1), (32, 64, 1), (128, 128, 1))


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--op", choices=("LSTM", "GRU", "RNN"), default="LSTM")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    rows, data, ok = [], [], True
    with pinned() as core:
        for size in QUICK if args.quick else tuple(TARGETS):
            source = recurrent_model(*size, op=args.op)
            model = load(source, isa=args.isa)
            row = bench_step(model, open_session(source), rounds=rounds)
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
                 "-" if target is None else f"{target:g}x", verdict,
                 f"{row.ours.p99 / row.ours.median:.2f}" if row.ours else "-"]
            )  # fmt: skip
            data.append({"size": size, **asdict(row), "ratio": row.ratio, "target": target, "verdict": verdict})
        said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    head = [f"{args.op}, µs a step", "ours", "out=", "ort run", "io_binding", "ratio", "target", "", "p99/median"]
    return finish(args, head, rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
