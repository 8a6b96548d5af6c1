"""The scripts that trained the models of examples/ still write such files: a hundredth of each training."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

import lstm_infer
import shared_files

EXAMPLES = shared_files.ROOT / "examples"
FILES = {
    "anomaly": ["anomaly"],
    "captions": ["captions"],
    "control": ["control"],
    "forecast": ["forecast"],
    "keywords": ["keywords"],
    "policy": ["policy"],
    "tagging": ["tagger_whole", "tagger_causal"],
    "text": ["text"],
}


def seen(path):
    """What a reader of the file can tell: its ports, its states, how it streams."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that the exporter froze
        model = lstm_infer.load(path)
    ports = [(p.name, p.shape, p.dtype, p.batch_axis, p.time_axis) for p in (*model.inputs, *model.outputs)]
    return ports, [(s.kind, s.shape, s.dtype) for s in model.states]


def test_every_model_has_its_script():
    assert {path.stem for path in (EXAMPLES / "train").glob("*.py")} == set(FILES)
    assert {path.stem for path in (EXAMPLES / "data").iterdir()} == {name for names in FILES.values() for name in names}


@pytest.mark.parametrize("name", FILES)
def test_a_hundredth_of_the_training(name, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="training needs PyTorch")
    pytest.importorskip("onnxscript", reason="its exporter needs onnxscript")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporters' own
            importlib.import_module(f"train.{name}").main(tmp_path, share=0.01)
    finally:
        for made in set(sys.modules) - before:
            if made.split(".")[0] in ("story", "train"):
                del sys.modules[made]
    for file in FILES[name]:
        assert seen(tmp_path / f"{file}.onnx") == seen(EXAMPLES / "data" / f"{file}.onnx")
