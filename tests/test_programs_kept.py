"""How many programs a model keeps: many where they are short, few where they are long, never without end."""

from __future__ import annotations

import numpy as np
import pytest

import lstm_infer
import stream_models
from lstm_infer import programs as programs_module


def kept(model: lstm_infer.Model, lengths: range) -> int:
    """Programs held after a run of each length."""
    port = model.inputs[0]
    for T in lengths:
        shape = [T if axis == port.time_axis else n or 1 for axis, n in enumerate(port.shape)]
        model.run({port.name: np.zeros(shape, np.float32)})
    return len(model._programs.kept)


@pytest.fixture
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.hidden_state())


def test_a_short_program_is_kept_for_every_length(model: lstm_infer.Model) -> None:
    assert kept(model, range(1, 200)) == 199


def test_long_programs_push_one_another_out(model: lstm_infer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "KEPT_CALLS", 0)
    assert kept(model, range(1, 100)) == programs_module.KEPT_PROGRAMS
    assert model._programs.kept_calls == sum(program.n_calls for program in model._programs.kept.values())


def test_their_steps_are_bounded(model: lstm_infer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "KEPT_CALLS", 100)
    assert programs_module.KEPT_PROGRAMS < kept(model, range(1, 200)) < 100
    assert model._programs.kept_calls <= 100
