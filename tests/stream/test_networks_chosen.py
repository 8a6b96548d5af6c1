"""A scalar input that chooses between networks which take frames of other sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lstm_infer
import stream_models
from lstm_infer import NotStreamableError
from lstm_infer.drive.inputs import settings


def frames(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (6, 1, n)).astype(np.float32)


def test_a_stream_of_the_other_network_is_refused_with_what_to_say() -> None:
    source = stream_models.switched_sizes()
    model, x = lstm_infer.load(source), frames(2 * stream_models.INPUTS)
    one = np.array(1)
    np.testing.assert_array_equal(
        model.stream(inputs={"which": one}).run(x[..., :5]), model.run({"x": x[..., :5], "which": one})["y"]
    )
    with pytest.raises(NotStreamableError, match=r"node 'a'.*load\(\.\.\., constants=\{'which': 0\}\)"):
        model.stream(inputs={"which": np.array(0)})
    chosen = lstm_infer.load(source, constants={"which": 0})
    np.testing.assert_array_equal(chosen.stream().run(x), model.run({"x": x, "which": np.array(0)})["y"])


def test_each_network_is_fed_at_its_own_sizes() -> None:
    model = lstm_infer.load(stream_models.switched_sizes())
    sizes = {
        int(one.chosen["which"]): one.draw(np.random.default_rng(0), 2, 1)["x"].shape[2] for one in settings(model)
    }
    assert sizes == {1: stream_models.INPUTS, 2: 2 * stream_models.INPUTS}


def test_a_conversion_tries_all_networks(tmp_path: Path) -> None:
    hidden = lstm_infer.convert(stream_models.switched_sizes(), tmp_path / "hidden.lsi")
    assert {check.case for check in hidden.checks} >= {"whole, which=1", "whole, which=2", "in pieces, which=1"}
    report = lstm_infer.convert(stream_models.switched(wider=2), tmp_path / "model.lsi")
    cases = {check.case for check in report.checks}
    assert {"whole, which=1", "whole, which=2", "in pieces, which=1", "in pieces, which=2"} <= cases
