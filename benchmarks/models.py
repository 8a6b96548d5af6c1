"""Whole real models, per call: streamed step by step where they stream and onnxruntime can follow, else run whole.

python -m benchmarks.models [--quick] [--json]     models from ../shared/models, or LSTM_INFER_MODELS

One more is made here: convolutions, pools and bidirectional GRUs, which are run whole (benchmarks/captcha.py).
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.captcha import captcha
from benchmarks.common import arguments, conditions, finish, load, models_folder, pinned, us
from lstm_infer import LstmInferError
from lstm_infer.cli.bench import bench
from lstm_infer.cli.profile import bounds

OPTIONS = {"silero_vad": {"constants": {"sr": 16000}, "inputs": {"input": (None, 576)}}}
"""What `load` must be told: an input that chooses between networks inside a file, and the size that goes with it."""


def main() -> int:
    """Measure and print."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rounds = 2 if args.quick else args.rounds
    rows, data, ok, steps, isa = [], [], True, [], ""
    sources: dict[str, Path | bytes] = {path.stem: path for path in sorted(models_folder().glob("*.onnx"))}
    sources["made here: CNN-BiGRU"] = captcha()
    for name, source in sources.items():
        try:
            model = load(source, isa=args.isa, **OPTIONS.get(name, {}))
            found = bench(source, model=model, rounds=rounds)
            with pinned():
                least = bounds(model)
        except LstmInferError as error:
            rows.append([name, "refused", *["-"] * 7, str(error)[:60]])
            data.append({"model": name, "refused": str(error)})
            continue
        isa = model.isa
        ok &= found.ok
        for row in found.rows:
            one = row.what in ("step", "frame") or bool(found.not_streamable and row.what.startswith("whole"))
            limit = max(least.multiplying, least.reading)
            rows.append(
                [name, row.what, us(row.ours), us(row.run), us(row.io_binding),
                 "-" if row.ratio is None else f"{row.ratio:.2f}x",
                 *([f"{least.multiplying:.2f}", f"{least.reading:.2f}", f"{row.ours.median / limit:.2f}x"]
                   if one and row.ours and limit else ["-"] * 3), "" if found.ok else "WRONG"]
            )  # fmt: skip
            data.append({"model": name, **asdict(row), "ratio": row.ratio, "bounds": asdict(least) if one else None})
            if row.what in ("step", "frame") and row.ratio is not None:
                steps.append(row.ratio)
    with pinned() as core:
        said = conditions(isa or "none", threads=1, core=core, rounds=rounds)
    if steps:
        mean = math.exp(sum(map(math.log, steps)) / len(steps))
        said = {
            "streamed steps": f"geometric mean {mean:.2f}x (target 4x), slowest {min(steps):.2f}x (target 1x)",
            **said,
        }
    said["bounds"] = (
        "multiplying: all multiply-adds at the peak of our matrix product; reading: all weights once, at the rate at which "
        "so much memory is read; both measured in this run; beside: ours over the larger of the two"
    )
    head = ["model, µs a call", "", "ours", "ort run", "io_binding", "ratio", "multiplying", "reading", "beside", ""]
    return finish(args, head, rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
