"""Recurrent networks that onnxruntime's quantiser wrote, against onnxruntime: runs, streams, and how they are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_infer
from quantised_models import CASES, Case, feeds, written
from sums_of_bytes import exact

pytest.importorskip("onnxruntime.quantization")

STEP = 0.01
"""A value halfway between two steps of 8 bits may go to either, by the order of the sum it came from: of the largest output,
one step of what a layer gives is at most 1 / 127. On the mean it is far less."""

DYNAMIC = [case for case in CASES if case.how == "dynamic"]
HIDDEN = [case for case in DYNAMIC if case.net in ("lstm", "gru")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantised_models")


def reference(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4  # more threads split a batch and its scales
    session = exact(path, options)
    return lambda given: session.run(None, given)[0]


def close(got: Any, want: Any) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    difference, most = np.abs(got - want), np.abs(want).max()
    assert difference.max() <= STEP * most and difference.mean() <= 0.1 * STEP * most


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_runs(case: Case, folder: Path) -> None:
    path = written(case, folder)
    model, want = lstm_infer.load(path), reference(path)
    for T, B in ((1, 1), (1, 3), (20, 1), (20, 3), (200, 1)):
        given = feeds(case, T, B, seed=T + B)
        (got,) = model.run(given).values()
        close(got, want(given))


@pytest.mark.parametrize("case", DYNAMIC, ids=lambda case: case.name)
def test_a_single_step_rounds_as_onnxruntime_does(case: Case, folder: Path) -> None:
    path = written(case, folder)
    model, want = lstm_infer.load(path), reference(path)
    for seed in range(8):
        given = feeds(case, 1, seed=seed)
        (got,) = model.run(given).values()
        if np.allclose(got, want(given), rtol=1e-4, atol=1e-5):
            return  # one draw in which nothing lies halfway
    raise AssertionError("every draw differs")


@pytest.mark.parametrize("case", HIDDEN, ids=lambda case: case.name)
def test_streams(case: Case, folder: Path) -> None:
    path = written(case, folder)
    model, x = lstm_infer.load(path), feeds(case, 17, 3)["x"]
    whole = model.stream(batch=3).run(x)
    other = model.stream(batch=3)
    pieces = [other.run(x[a:b]) for a, b in ((0, 1), (1, 6), (6, 17))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    for i in range(3):
        alone = model.stream()
        np.testing.assert_array_equal(np.stack([alone.step(row) for row in x[:, i : i + 1]]), whole[:, i : i + 1])
    close(whole[:1, :1], reference(path)({"x": x[:1, :1]}))


@pytest.mark.parametrize("case", DYNAMIC, ids=lambda case: case.name)
def test_weights_stay_in_8_bits(case: Case, folder: Path) -> None:
    path = written(case, folder)
    model = lstm_infer.load(path)
    model.run(feeds(case, 2))
    kinds = {layer.op: layer.precision for layer in model.layers}
    assert {kind for op, kind in kinds.items() if op.startswith("Dynamic")} == {"int8"}
    assert "as int8 (as in the file)" in model.summary()
    if case.net == "lstm":  # in the graph and packed; the rows of scales and sums go with each unit
        weights = sum(layer.n_weights for layer in model.layers)
        assert model.nbytes < 2.1 * weights + 16384
