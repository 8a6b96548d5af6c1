"""Every native file that was ever kept is read, and gives what it gave when it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lstm_infer
from lstm_infer.native.container import native

KEPT = sorted((Path(__file__).parents[1] / "data" / "format").glob("v*/*.lsi"))


def test_there_are_files_of_version_1() -> None:
    assert len([path for path in KEPT if path.parent.name == "v1"]) >= 5


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_kept_file_gives_what_it_gave(path: Path) -> None:
    file = native(path)
    assert file is not None and file.check() > 3
    kept = np.load(path.with_suffix(".npz"))
    model = lstm_infer.load(path)
    y = model.run({model.inputs[0].name: kept["x"]})[model.outputs[0].name]
    if model.isa == "scalar":
        np.testing.assert_allclose(y, kept["y"], rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(y, kept["y"])
    time, stream = model.inputs[0].time_axis, model.stream(kept["x"].shape[model.inputs[0].batch_axis or 0])
    parts = [stream.run(np.ascontiguousarray(x)) for x in np.array_split(kept["x"], 3, time)]
    tail = stream.flush()
    whole = np.concatenate([*parts, *([] if tail is None else [tail])], model.outputs[0].time_axis)
    np.testing.assert_array_equal(whole, y)
