"""Errors of 8-bit weights: ours in int8 and in f16, and onnxruntime's int8 of the same file, each against its own f32.

python -m benchmarks.errors [--quick] [--json]     onnxruntime's: quantize_dynamic with its defaults, made on the fly

Whole runs on seeded inputs (the demo: its riff), outputs and next states together. Mean and largest error, as a share of the
range of the f32 output; the last column is the mean of ours over that of onnxruntime.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import lstm_infer
from benchmarks.common import arguments, conditions, finish, load, models_folder, recurrent_model
from lstm_infer.cli.demo.pluck import riff
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.cli.quantised import quantised_session
from lstm_infer.cli.verify import open_session
from lstm_infer.drive.inputs import Inputs

SEEDS = 3
STEPS = 100
SIZES = [("LSTM", 32, 64, 1), ("LSTM", 128, 128, 1), ("LSTM", 256, 256, 2), ("GRU", 128, 128, 1), ("RNN", 128, 128, 1)]
FILES = ["silero_vad_v6_seq", "dtln_model_1", "dtln_model_2", "fairtalk_lstm2", "pose_gru"]
MARGIN = 1.0
"""Ours may be as large as onnxruntime's, in the mean."""


def sources(quick: bool) -> Iterator[tuple[str, Any, dict[str, np.ndarray] | None]]:
    """(name, source, inputs or None: drawn)."""
    for op, inputs, hidden, layers in SIZES[:2] if quick else SIZES:
        yield f"{op} ({inputs},{hidden},{layers})", recurrent_model(inputs, hidden, layers, op=op), None
    yield "demo amplifier, a riff", MODEL, {"x": riff(0.5).reshape(-1, 1, 1)}
    if not quick:
        for name in FILES:
            yield name, models_folder() / f"{name}.onnx", None


def errors(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Mean and largest error of all float outputs, each as a share of its range."""
    parts = [
        (np.abs(got[n].astype(np.float64) - w) / float(np.ptp(w))).ravel()
        for n, w in want.items()
        if w.dtype.kind == "f" and w.size and np.ptp(w) > 0
    ]
    every = np.concatenate(parts)
    return float(every.mean()), float(every.max())


def measured(source: Any, fixed: dict[str, np.ndarray] | None) -> dict[str, tuple[float, float]]:
    """By side: mean of the mean errors, largest of the largest."""
    models = {kind: load(source, precision=kind) for kind in ("f32", "f16", "int8")}
    plain, (small, _) = open_session(source), quantised_session(source)
    inputs, found = Inputs(models["f32"]), {}
    names = [info.name for info in models["f32"].outputs]
    for seed in range(SEEDS if fixed is None else 1):
        steps, batch = inputs.declared
        feeds = inputs.draw(np.random.default_rng(seed), steps or inputs.sizes(STEPS, 1)[0], batch or 1)
        if fixed is not None:
            feeds |= dict(zip(inputs.roles.time, fixed.values(), strict=True))
        runs = {kind: model.run(feeds) for kind, model in models.items()}
        for kind in ("f16", "int8"):
            found.setdefault(kind, []).append(errors(runs[kind], runs["f32"]))
        if small is not None:
            want, got = (dict(zip(names, session.run(names, feeds), strict=True)) for session in (plain, small))
            found.setdefault("onnxruntime", []).append(errors(got, want))
    return {side: (float(np.mean([m for m, _ in all_])), max(most for _, most in all_)) for side, all_ in found.items()}


def main() -> int:
    """Measure and print; exit status 1 where ours is the larger."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rows, data, ok = [], [], True
    for name, source, fixed in sources(args.quick):
        found = measured(source, fixed)
        theirs = found.get("onnxruntime")
        ratio = None if theirs is None else found["int8"][0] / theirs[0]
        good = ratio is None or ratio <= MARGIN
        ok &= good
        shown = [f"{share:.1e}" for side in ("f16", "int8", "onnxruntime") for share in found.get(side, ())]
        shown += ["-"] * (6 - len(shown))
        rows.append([name, *shown, "-" if ratio is None else f"{ratio:.2f}", "" if good else "larger"])
        data.append({"model": name, **found, "ratio": ratio})
    said = conditions(lstm_infer.load(MODEL, isa=args.isa).isa, threads=1, core=None, rounds=SEEDS)
    said.pop("method", None)
    head = [
        "share of the range",
        "f16 mean",
        "largest",
        "int8 mean",
        "largest",
        "onnxruntime mean",
        "largest",
        "ours/theirs",
        "",
    ]
    return finish(args, head, rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
