"""lstm-infer doctor says what is there, and finds what is wrong; without arguments the command says where to begin."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lstm_infer import _core
from lstm_infer.cli import doctor as module
from lstm_infer.cli.command import main


def test_it_is_fine_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["sets"] == dict(_core.list_isas())
    assert {"lstm_infer", "python", "numpy"} <= set(found["versions"])
    assert [t["what"] for t in found["trials"]][-3:] == ["sets agree", "a native file", "beside onnxruntime"]
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("fine")


def test_it_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stepped = module._stepped

    def off(isa: str, results: dict[str, object]) -> str:
        said = stepped(isa, results)
        if isa == "scalar":
            results[isa] = np.asarray(results[isa]) + np.float32(1e-3)
        return said

    monkeypatch.setattr(module, "_stepped", off)
    monkeypatch.setattr(module, "_native", lambda: 1 / 0)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "WRONG  sets agree: AssertionError: they differ by 1.0e-03" in said
    assert "WRONG  a native file: ZeroDivisionError" in said and "send this with a report" in said


def test_without_arguments_it_says_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "Begin with:" in said and "lstm-infer inspect model.onnx" in said
