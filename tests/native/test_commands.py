"""inspect, verify and bench of a native file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import stream_models
from lstm_infer import load
from lstm_infer.cli.command import main
from lstm_infer.conversion.native import write_native
from lstm_infer.native.container import native


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "model.lsi"
    write_native(load(stream_models.wide()), found)
    return found


def test_inspect_shows_what_it_shows_of_the_source(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = path.with_suffix(".onnx")
    source.write_bytes(stream_models.wide())
    told = []
    for file in (source, path):
        assert main(["inspect", str(file), "--json"]) == 0
        told.append(capsys.readouterr().out.replace(str(file), "FILE"))
    assert json.loads(told[0]) == json.loads(told[1])


def test_verify_compares_with_plain_c_and_checks_every_block(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["verify", str(path)]) == 0
    assert "the scalar kernels" in capsys.readouterr().out
    file = native(path)
    assert file is not None
    _, _, start, length, _ = max(file.blocks, key=lambda block: block[3])
    damaged = bytearray(path.read_bytes())
    damaged[start + length - 1] ^= 1
    other = path.with_name("damaged.lsi")
    other.write_bytes(damaged)
    assert main(["verify", str(other)]) == 2
    assert "does not fit its checksum" in capsys.readouterr().err


def test_bench_times_it_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(path), "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows and all(row["ours"] and not row["run"] for row in rows)
    assert any("no native files" in row["note"] for row in rows)
