"""Makes what a later release is held against: small models, snapshots of their streams, and what comes behind them.

    python tests/data/snapshots/v3/make.py

from the root. Nothing here is made anew: what is there stays as this version wrote it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from snapshot_cases import CASES, tail  # noqa: E402

STEPS, CUT = 23, 9
NAMES = ["ports", "stride", "queue", "counter", "lengths"]
"""Ports, a window with a phase, a queue, an integer state, lengths: two signals each."""


def main() -> None:
    for name in NAMES:
        case = CASES[name]
        files = [HERE / f"{name}.{kind}" for kind in ("onnx", "snapshot", "npz")]
        if any(file.exists() for file in files):
            continue
        x, stream = case.signal(STEPS, 2), case.stream(batch=2)
        stream.run(case.part(x, 0, CUT))
        files[0].write_bytes(case.build())
        files[1].write_bytes(stream.snapshot())
        rest = case.part(x, CUT, None)
        np.savez_compressed(files[2], rest=rest, **{f"bound {n}": a for n, a in case.inputs(2).items()},
                            **{f"want {n}": a for n, a in tail(stream, rest).items()})  # fmt: skip


if __name__ == "__main__":
    main()
