"""The door of convert, by a form of the test's own: what is written, when, and what is said instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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

    name, suffix, feeds_defaults, allowed = "native", ".lsi", True, "nothing"
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
@pytest.mark.parametrize("kind", ["fifo", "dangling link", "device"])
def test_only_regular_files_are_written_over(form, tmp_path, kind):
    path = tmp_path / "x.lsi"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(lstm_infer.LstmInferError, match=r"exists; force=|no regular file"):
        lstm_infer.convert(MODEL, path)
    if kind != "dangling link":
        with pytest.raises(ConvertError, match="is no regular file"):
            lstm_infer.convert(MODEL, path, force=True)
        assert not path.is_file() and os.path.lexists(path)


def test_states_go_elsewhere_than_the_model(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=r"states_file: .* is where the model goes"):
        lstm_infer.convert(MODEL, tmp_path / "x.lsi", states_file="x.lsi")
    assert folder(tmp_path) == []


def test_what_came_there_meanwhile_stays(form, tmp_path):
    path = tmp_path / "x.lsi"

    def come(line):
        if line == "check":
            path.write_text("another's")

    with pytest.raises(ArgumentError, match="exists"):
        lstm_infer.convert(MODEL, path, say=come)
    assert folder(tmp_path) == ["x.lsi"] and path.read_text() == "another's"


@pytest.mark.parametrize("when", ["write", "check"])
def test_nothing_is_left_of_what_was_broken_off(form, tmp_path, when):
    def stop(line):
        if line == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lstm_infer.convert(MODEL, tmp_path / "x.lsi", say=stop)
    assert folder(tmp_path) == []


def test_names_as_long_as_the_system_has_them(form, tmp_path):
    name = "n" * 251 + ".lsi"
    assert lstm_infer.convert(MODEL, tmp_path / name).ok and folder(tmp_path) == [name]
    with pytest.raises(ConvertError, match="cannot be written: File name too long"):
        lstm_infer.convert(MODEL, tmp_path / ("n" * 252 + ".lsi"))
    with pytest.raises(ArgumentError, match="path: a path cannot hold a zero byte"):
        lstm_infer.convert(MODEL, str(tmp_path / "a\0b.lsi"))
    assert folder(tmp_path) == [name]


FULL = """
import resource, sys
import lstm_infer
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    lstm_infer.convert(sys.argv[1], sys.argv[2], to=sys.argv[3], force=True)
except lstm_infer.ConvertError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files")
@pytest.mark.parametrize("to", ["native", "onnx", "c"])
def test_a_full_disk(to, tmp_path):
    """Nothing is left, and what was there stays."""
    target = tmp_path / "x"
    if to == "c":
        target.mkdir()
        (target / "x.c").write_text("old")
    else:
        target.write_text("old")
    ran = subprocess.run([sys.executable, "-c", FULL, MODEL, target, to], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "refused: " in ran.stderr and "cannot be written: File too large" in ran.stderr
    assert folder(tmp_path) == ["x"]
    assert (target / "x.c" if to == "c" else target).read_text() == "old"


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
