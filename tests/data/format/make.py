"""Writes the native files that are kept, each beside a signal and what came out: python tests/data/format/make.py

Only for a new version of the format, and only what is not there: files that were kept are never written again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import lstm_infer
import snapshot_cases
import stream_models
from lstm_infer.conversion.native import write_native
from lstm_infer.native.container import VERSION

ZOO = Path(__file__).parents[2] / "zoo" / "files"
CASES = {
    "lstm_f32": (stream_models.hidden_state(), "f32", (9, 2, 5), {}),
    "wide_f16": (stream_models.wide(), "f16", (9, 2, 24), {}),
    "wide_int8": (stream_models.wide(), "int8", (9, 2, 24), {}),
    "queued": (snapshot_cases.queued(), "f32", (2, 5, 9), {"time_axis": {"x": 2}}),
    "loop": (ZOO / "ts_scripted_peephole.onnx", "f32", None, {}),
    "wide_1_2": (stream_models.wide(), "int8", (9, 2, 24), {}),
    "loop_1_3": (ZOO / "ts_mamba.onnx", "f16", None, {}),
}


def main() -> None:
    """Each that is missing."""
    folder = Path(__file__).parent / f"v{VERSION[0]}"
    folder.mkdir(exist_ok=True)
    for name, (source, kind, shape, options) in CASES.items():
        path = folder / f"{name}.lsi"
        if path.exists():
            continue
        model = lstm_infer.load(source, precision=kind, **options)
        port = model.inputs[0]
        shape = shape or tuple(3 if n is None else n for n in port.shape)
        x = np.random.default_rng(0).uniform(-1, 1, shape).astype(port.dtype)
        y = model.run({port.name: x})[model.outputs[0].name]
        write_native(model, path)
        np.savez(path.with_suffix(".npz"), x=x, y=y)


if __name__ == "__main__":
    main()
