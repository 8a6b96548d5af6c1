"""What the public objects show: public things only, and nothing that a caller may set on them."""

from __future__ import annotations

import pickle
import re
import weakref
from pathlib import Path

import numpy as np
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


def test_tab_completion_shows_public_names_only(model: lstm_infer.Model) -> None:
    """Whatever was imported by now."""
    shown = {name for name in dir(lstm_infer) if not name.startswith("__")}
    assert shown == {*lstm_infer.__all__, "errors", "onnx_backend", "onnxruntime", "typing"} - {"__version__"}
    assert all(getattr(lstm_infer, name) is not None for name in shown)


def test_help_begins_with_lines_that_run(
    model: lstm_infer.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(stream_models.hidden_state())
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    (.*)$", lstm_infer.__doc__ or "", re.MULTILINE)
    frames = np.zeros((3, 1, stream_models.INPUTS), np.float32)
    space = {"frames": frames, "frame": frames[0]}
    exec("\n".join(lines), space)
    assert isinstance(space["ys"], np.ndarray)
