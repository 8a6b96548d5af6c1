"""What is given: paths, bytes, ModelProtos, and all that is none of these. Broken files end in our errors."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importer_models import ROOT, model, node, real_files

from lstm_infer import importer
from lstm_infer.errors import LstmInferError, OnnxImportError

GOOD = model([node("Add", "x w", "y")], tensors={"w": np.ones(3, np.float32)})


def test_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = GOOD.SerializeToString()
    path.write_bytes(data)
    for source in (str(path), path, os.fsencode(path).decode(), data, bytearray(data), memoryview(data), GOOD):
        assert [item.op for item in importer.read(source).nodes] == ["Add"]


def test_reading_changes_nothing_in_a_model_proto() -> None:
    before = GOOD.SerializeToString()
    importer.read(GOOD)
    assert GOOD.SerializeToString() == before


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("data.pkl", "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "is empty"),
        (b"not a model at all, but a line of text", "text"),
        (archive(), "zip"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\0\0\0\0TFL3" + bytes(50), "TensorFlow Lite"),
        (b"\xff" * 50, "do not parse"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
        (model([], outputs=[]).SerializeToString(), "no outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_onnx_is_named(data: bytes, word: str, tmp_path: Path) -> None:
    with pytest.raises(OnnxImportError, match=word):
        importer.read(data)
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(OnnxImportError, match=f"m.onnx.*{word}"):
        importer.read(tmp_path / "m.onnx")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**31)
    for name, word in (
        ("none", "no such file"),
        (".", "is a folder"),
        ("fifo", "regular"),
        ("huge", "external data"),
        ("a\0b", "zero"),
    ):
        with pytest.raises(OnnxImportError, match=word):
            importer.read(f"{tmp_path}/{name}")


def test_other_objects() -> None:
    for source in (None, 3, [b"x"], object()):
        with pytest.raises(OnnxImportError, match=type(source).__name__):
            importer.read(source)


def test_names_that_are_not_text() -> None:
    data = GOOD.SerializeToString().replace(b"Add", b"\xff\xfe\xfd")
    with pytest.raises(OnnxImportError, match="UTF-8"):
        importer.read(data)


def test_an_ir_of_the_future() -> None:
    made = model([node("Relu", "x", "y")], ir_version=99)
    with pytest.raises(OnnxImportError, match="IR version 99"):
        importer.read(made)


def test_onnx_is_loaded_only_to_read() -> None:
    code = "import sys, lstm_infer.importer; assert 'onnx' not in sys.modules and 'google.protobuf' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# Damage


def survives(data: bytes) -> None:
    """A Graph or an error of ours that says something."""
    try:
        importer.read(data)
    except LstmInferError as error:
        assert str(error).strip()  # noqa: PT017  (it need not raise)


def small_files() -> list[Path]:
    return [path for path in real_files() if path.stat().st_size < 4000]


@pytest.mark.parametrize("path", small_files()[:4], ids=lambda path: path.stem)
def test_cut_anywhere(path: Path) -> None:
    data = path.read_bytes()
    for stop in range(0, len(data), max(1, len(data) // 300)):
        survives(data[:stop])


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.stem)
def test_flipped_bits(path: Path) -> None:
    rng = random.Random(path.stem)
    data = bytearray(path.read_bytes())
    for _ in range(4):
        at, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        data[at] ^= bit
        survives(bytes(data))
        data[at] ^= bit


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes(data: bytes) -> None:
    survives(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_random_bytes_inside_a_model(data: st.DataObject) -> None:
    good = GOOD.SerializeToString()
    at = data.draw(st.integers(0, len(good)))
    survives(good[:at] + data.draw(st.binary(max_size=20)) + good[at + data.draw(st.integers(0, 20)) :])


@pytest.mark.skipif(not real_files(), reason="shared/exports is absent; set LSTM_INFER_EXPORTS")
def test_structural_damage() -> None:
    """A few hundred cases of tools/fuzz_import.py, which runs many more."""
    command = [sys.executable, str(ROOT / "tools" / "fuzz_import.py"), "--n", "400", "--seed", "7"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
