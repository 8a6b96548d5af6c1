"""What the public objects show: public things only, and nothing that a caller may set on them."""

from __future__ import annotations

import pickle
import weakref

import pytest

import lstm_infer
import stream_models


@pytest.fixture
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.hidden_state())


def test_a_model_shows_public_things_only(model: lstm_infer.Model) -> None:
    public = sorted(name for name in dir(model) if not name.startswith("_"))
    data = ["inputs", "isa", "layers", "nbytes", "outputs", "repaired", "rewritten", "states", "streaming"]
    assert public == sorted([*data, "iter_many", "pool", "run", "run_many", "stream", "summary"])


@pytest.mark.parametrize("name", ["roles", "note", "repaired", "rewritten", "isa"])
def test_a_model_refuses_attributes(model: lstm_infer.Model, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(model, name, None)


def test_a_pickled_model_is_the_same(model: lstm_infer.Model) -> None:
    twin = pickle.loads(pickle.dumps(model))
    assert twin.summary() == model.summary() and twin.repaired == model.repaired
    assert weakref.ref(twin)() is twin
