"""What the public objects show: public things only, and nothing that a caller may set on them."""

from __future__ import annotations

import inspect
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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_takes_what_one_takes(model: lstm_infer.Model, protocol: int, tmp_path: Path) -> None:
    import lstm_infer.onnxruntime as ort

    x = np.random.default_rng(0).random((3, 1, stream_models.INPUTS), np.float32)
    stream = model.stream()
    stream.run(x)
    lstm_infer.convert(model, tmp_path / "model.lsi")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(stream_models.hidden_state(), options)
    shown = (*model.inputs, *model.states, *model.layers, model.streaming, session.get_modelmeta())
    kept = [model, lstm_infer.load(tmp_path / "model.lsi"), stream, session, ort.OrtValue(x), ort.RunOptions(), *shown]
    again = pickle.loads(pickle.dumps(kept, protocol))
    for one, twin in zip(kept[:2], again[:2], strict=True):
        np.testing.assert_array_equal(one.run({"x": x})["y"], twin.run({"x": x})["y"])
    np.testing.assert_array_equal(stream.run(x), again[2].run(x))
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], again[3].run(None, {"x": x})[0])
    assert again[3].get_session_options() == options and again[3].get_session_options().intra_op_num_threads == 1
    np.testing.assert_array_equal(again[4].numpy(), x)
    assert again[5:] == kept[5:]


def test_no_signature_shows_an_address() -> None:
    """As help() and the pages have them."""
    for name in lstm_infer.__all__:
        thing = getattr(lstm_infer, name)
        members = [m for n, m in vars(thing).items() if not n.startswith("_")] if isinstance(thing, type) else [thing]
        for member in filter(inspect.isroutine, members):
            try:
                shown = str(inspect.signature(member))
            except ValueError:  # of C
                continue
            assert " at 0x" not in shown and "<object" not in shown, f"{name}: {shown}"


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
