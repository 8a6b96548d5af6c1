"""Whatever holds a native file: a path, a file object, memory that its owner goes on writing to; and what is none."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lstm_infer
import stream_models
from lstm_infer import OnnxImportError
from lstm_infer.conversion.native import write_native

X = np.ones((3, 1, 24), np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("file") / "model.lsi"
    write_native(lstm_infer.load(stream_models.wide()), found)
    return found


@pytest.fixture(scope="module")
def want() -> bytes:
    return lstm_infer.load(stream_models.wide()).run({"x": X})["y"].tobytes()


def test_file_objects_and_a_home_folder(path: Path, want: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    data = path.read_bytes()
    spread = memoryview(np.repeat(np.frombuffer(data, np.uint8), 2))[::2]
    with open(path, "rb") as file:
        for source in (file, io.BytesIO(data), "~/model.lsi", Path("~/model.lsi"), memoryview(data), spread):
            assert lstm_infer.load(source).run({"x": X})["y"].tobytes() == want


def test_a_file_object_may_hold_onnx_too_and_is_named_where_it_cannot_be_read() -> None:
    assert lstm_infer.load(io.BytesIO(stream_models.wide())).outputs[0].name == "y"
    with pytest.raises(OnnxImportError, match="gives text"):
        lstm_infer.load(io.StringIO("text"))


def test_memory_that_is_written_to_later_is_not_the_models(path: Path, want: bytes) -> None:
    """Nothing of the file is read at first but its plans: the rest has to be a copy."""
    data = path.read_bytes()
    room = np.empty(len(data) + 64, np.uint8)
    begin = -room.ctypes.data % 64
    for memory in (bytearray(data), room[begin : begin + len(data)]):
        memory[:] = data if isinstance(memory, bytearray) else np.frombuffer(data, np.uint8)
        model = lstm_infer.load(memoryview(memory))
        memory[:] = bytes(len(data)) if isinstance(memory, bytearray) else 0
        assert model.run({"x": X})["y"].tobytes() == want


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.lsi")  # that nobody writes to: whoever opens it waits
    code = "import lstm_infer, sys; lstm_infer.load(sys.argv[1])"
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.lsi"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "OnnxImportError" in ran.stderr and "is not a regular file" in ran.stderr
