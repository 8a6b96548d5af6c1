"""The door of convert, by a form of the test's own: what is written, when, and what is said instead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lstm_infer
from lstm_infer import ArgumentError, ConvertError
from lstm_infer.cli.command import main
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.conversion import convert as door
from lstm_infer.conversion.form import Proof, Written
from lstm_infer.conversion.proof import live_cases, matched, whole_cases


class Copied:
    """Writes the name of the model; what it gives is the model's own outputs, times `factor`."""

    name, suffix, allowed = "native", ".lsi", "nothing"
    factor = 1.0

    def __init__(self):
        self.takes = {"chunk": 1, "states_file": None}

    def write(self, model, folder, asked):
        main_file = folder / "out.lsi"
        main_file.write_text(f"chunk {asked.options['chunk']}")
        beside = {}
        if asked.options["states_file"]:
            (folder / "s.npz").write_bytes(b"states")
            beside[folder / "s.npz"] = asked.options["states_file"]
        return Written(main_file, beside, {"chunk": str(asked.options["chunk"])})

    def prove(self, model, written, asked):
        checks = []
        for live in live_cases(model, asked.seed, steps=20):
            stream = model.stream(live.signals, initial=live.initial, inputs=live.side)
            made = [stream.run(next(iter(piece.values()))) for piece in live.pieces(7)]
            checks.append(matched(live, {model.outputs[0].name: self.factor * np.concatenate(made, 0)}, bits=True))
        for whole in whole_cases(model, asked.seed):
            got = {name: self.factor * value for name, value in model.run(whole.feeds).items()}
            checks.append(matched(whole, got, bits=True))
        return Proof(tuple(checks))


@pytest.fixture
def form(monkeypatch):
    found = Copied()
    monkeypatch.setitem(door.FORMS, "native", "form")
    monkeypatch.setattr(door, "_load_form", lambda module: found)
    return found


def folder(path):
    return sorted(p.name for p in path.iterdir())


def test_the_file_is_there_when_the_check_has_passed(form, tmp_path):
    said = []
    report = lstm_infer.convert(MODEL, tmp_path / "amp.lsi", say=said.append, states_file=tmp_path / "first.npz")
    assert report.ok and report.largest_error == 0 and len(report.checks) >= 4
    assert folder(tmp_path) == ["amp.lsi", "first.npz"]
    assert (tmp_path / "amp.lsi").read_text() == "chunk 1"
    assert report.files == {str(tmp_path / "amp.lsi"): 7, str(tmp_path / "first.npz"): 6}
    assert said == ["load", "write", "check"]
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_no_file_is_left_where_the_result_is_wrong(form, tmp_path, capsys):
    form.factor = np.float32(1.0001)
    (tmp_path / "old.lsi").write_text("old")
    with pytest.raises(ConvertError, match="not what the source gives") as raised:
        lstm_infer.convert(MODEL, tmp_path / "old.lsi", force=True)
    assert not raised.value.report.ok
    assert main(["convert", str(MODEL), str(tmp_path / "new.lsi")]) == 1
    assert "WRONG" in capsys.readouterr().out
    assert folder(tmp_path) == ["old.lsi"] and (tmp_path / "old.lsi").read_text() == "old"


def test_nothing_is_written_over_unless_it_is_said(form, tmp_path):
    path = tmp_path / "amp.lsi"
    path.write_text("mine")
    with pytest.raises(ArgumentError, match="--force"):
        lstm_infer.convert(MODEL, path)
    assert path.read_text() == "mine"
    lstm_infer.convert(MODEL, path, force=True)
    assert path.read_text() == "chunk 1"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"path": 3}, "path: a path expected"),
        ({"path": "model.xyz"}, r"\.lsi \(native\)"),
        ({"to": "tflite"}, "to: one of "),
        ({"chunk": 0}, "chunk: a whole number from 1 on"),
        ({"opset": 17}, "opset: means nothing for to='native', which takes chunk, states_file"),
        ({"name": ""}, "name"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_wrong_arguments_are_named(form, tmp_path, arguments, text):
    arguments = {"path": tmp_path / "x.lsi", **arguments}
    with pytest.raises(ArgumentError, match=text):
        lstm_infer.convert(MODEL, arguments.pop("path"), **arguments)
    assert folder(tmp_path) == []


def test_where_it_cannot_be_written(form, tmp_path):
    with pytest.raises(ConvertError, match="is not there"):
        lstm_infer.convert(MODEL, tmp_path / "no" / "x.lsi")
    (tmp_path / "d.lsi").mkdir()
    with pytest.raises(ConvertError, match="a folder"):
        lstm_infer.convert(MODEL, tmp_path / "d.lsi", force=True)
    assert Path(tmp_path / "d.lsi").is_dir()


def test_options_of_load_belong_to_a_file(form, tmp_path):
    model = lstm_infer.load(MODEL)
    assert lstm_infer.convert(model, tmp_path / "a.lsi").ok
    with pytest.raises(ArgumentError, match="precision: the model is loaded already"):
        lstm_infer.convert(model, tmp_path / "b.lsi", precision="f16")


def test_the_command(form, tmp_path, capsys):
    assert (
        main(
            [
                "convert",
                str(MODEL),
                str(tmp_path / "a.lsi"),
                "--chunk",
                "3",
                "--states",
                str(tmp_path / "f.npz"),
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["facts"] == {"chunk": "3"} and found["largest_error"] == 0
    assert main(["convert", str(MODEL), str(tmp_path / "a.lsi")]) == 2
    assert "--force" in capsys.readouterr().err
