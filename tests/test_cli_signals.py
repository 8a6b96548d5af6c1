"""Files of signals as they come: with rows that are missing, of another rate, through pipes, into folders that are read-only."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import stream_models
from lstm_infer.cli import command, wav
from lstm_infer.cli.demo.show import MODEL


def call(*argv):
    return command.main([str(one) for one in argv])


@pytest.mark.parametrize("text", ["x\n0.1\n\n0.3\n", "0.1\n   \n0.3\n", "x\r\n0.1\r\n\r\n0.3\r\n\r\n"])
def test_a_row_that_is_missing_is_no_step_less(text, tmp_path, capsys):
    """It was left out, and what followed came a step too early."""
    (tmp_path / "x.csv").write_text(text)
    assert call("run", MODEL, "--input", tmp_path / "x.csv", "--output", tmp_path / "y.npy") == 2
    assert "x.csv: data row 2 is empty; give a number for each step, nan where there is none" in capsys.readouterr().err


def test_empty_rows_at_the_end_are_none(tmp_path):
    (tmp_path / "x.csv").write_text("x\n0.1\n0.3\n\n\n")
    assert call("run", MODEL, "--input", tmp_path / "x.csv", "--output", tmp_path / "y.npy") == 0
    assert np.load(tmp_path / "y.npy").shape == (2, 1, 1)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_rate_that_is_not_that_of_the_file_is_noted(rate, tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(stream_models.switched())
    wav.write_wav(tmp_path / "x.wav", np.zeros(4 * stream_models.INPUTS, np.float32), 16000)
    argv = ("--input", tmp_path / "x.wav", "--output", tmp_path / "y.npy", "--constants", f"which={rate}")
    assert call("run", tmp_path / "m.onnx", *argv) == 0
    said = capsys.readouterr()
    assert ("has 16000 samples a second, 'which' is 8000; resample the file" in said.out + said.err) == (rate != 16000)


def test_pipes_are_told(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((5, 1, 1), np.float32))
    for argv, said in {
        ("inspect", "-"): "-: no such file; a model is not read through a pipe: give the path of the .onnx file",
        (
            "run",
            MODEL,
            "--input",
            "-",
            "--output",
            "y.npy",
        ): "files are read and written by their name, not through pipes",
        ("run", MODEL, "--input", tmp_path / "x.npy", "--output", "/dev/stdout"): "by their name, not through pipes",
    }.items():
        assert call(*argv) == 2
        assert said in capsys.readouterr().err


def test_a_wav_that_cannot_be_written_is_one_line(tmp_path):
    """wave left half an object behind, whose end printed a traceback."""
    (tmp_path / "y.wav").mkdir()
    np.save(tmp_path / "x.npy", np.zeros((5, 1, 1), np.float32))
    argv = [
        "run",
        str(MODEL),
        "--input",
        str(tmp_path / "x.npy"),
        "--output",
        str(tmp_path / "y.wav"),
        "--rate",
        "8000",
    ]
    done = subprocess.run([sys.executable, "-m", "lstm_infer", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "y.wav: is a directory" in done.stderr, done.stderr
