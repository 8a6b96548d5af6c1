"""Snapshots that earlier releases wrote go on with the bits that they went on with then. tests/data/snapshots/ is only added to."""

from __future__ import annotations

import numpy as np
import pytest

import lstm_infer
import shared_files
import tolerances
from snapshot_cases import CASES, tail

KEPT = sorted((shared_files.ROOT / "tests" / "data" / "snapshots").glob("v*/*.snapshot"))


def test_there_are_some():
    assert {path.parent.name for path in KEPT} == {"v3"}
    assert len(KEPT) == 5


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_it_goes_on(path):
    kept = np.load(path.with_suffix(".npz"))
    bound = {name.removeprefix("bound "): kept[name] for name in kept.files if name.startswith("bound ")}
    model = lstm_infer.load(path.with_suffix(".onnx"), **CASES[path.stem].load)
    for max_chunk in (64, 1):
        stream = model.stream(2, inputs=bound, max_chunk=max_chunk)
        stream.restore(path.read_bytes())
        if path.parent.name == "v3":
            assert stream.snapshot() == path.read_bytes()
        got = tail(stream, kept["rest"])
        want = {name.removeprefix("want "): kept[name] for name in kept.files if name.startswith("want ")}
        assert got.keys() == want.keys()
        for name, array in want.items():
            if model.isa == "scalar":  # the one set that promises no bits
                tolerances.like_onnxruntime(got[name], array, name)
            else:
                tolerances.exact(got[name], array, name)
