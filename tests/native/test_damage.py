"""A native file that is damaged, of another version, byte order or machine is refused by what is wrong with it."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import stream_models
from lstm_infer import FormatError
from lstm_infer.conversion.native import write_native
from lstm_infer.native.container import HEADER, native

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from fuzz_native import Parts, fuzz


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("file") / "model.lsi"
    write_native(lstm_infer.load(stream_models.wide()), path)
    return path.read_bytes()


def sealed(data: bytes, **changed: int) -> bytes:
    """With other fields in the header, and its checksum."""
    names = (
        "magic",
        "order",
        "major",
        "minor",
        "size",
        "start",
        "length",
        "checksum",
        "plans",
        "plans_bytes",
        "plans_checksum",
    )
    fields = dict(zip((*names, "zero", "own"), HEADER.unpack_from(data), strict=True)) | changed
    own = crc32(HEADER.pack(*fields.values())[:-4])
    return HEADER.pack(*list(fields.values())[:-1], own) + data[HEADER.size :]


def test_every_bit_of_the_header_counts(data: bytes) -> None:
    for at in range(HEADER.size):
        if at < 8:
            continue  # not a native file, then
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(FormatError):
                lstm_infer.load(bytes(damaged))


def test_a_file_that_is_cut_is_refused(data: bytes, tmp_path: Path) -> None:
    for n in [8, 9, 63, 64, 65, 1000, len(data) // 2, len(data) - 1]:
        with pytest.raises(FormatError):
            lstm_infer.load(data[:n])
        path = tmp_path / "cut.lsi"
        path.write_bytes(data[:n])
        with pytest.raises(FormatError, match=r"cut\.lsi"):
            lstm_infer.load(path)
    (tmp_path / "cut.lsi").write_bytes(data[:7])
    with pytest.raises(FormatError, match="does not begin as a native file"):
        lstm_infer.load(tmp_path / "cut.lsi")
    with pytest.raises(FormatError):
        lstm_infer.load(data + b"\0")


def test_a_newer_version_is_refused_by_name_and_a_later_minor_one_is_read(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"format version 2\.7, this release reads 1"):
        lstm_infer.load(sealed(data, major=2, minor=7))
    assert lstm_infer.load(sealed(data, minor=9)).outputs[0].name == "y"


def test_another_byte_order_is_refused_by_name(data: bytes) -> None:
    swapped = struct.pack(">8s I HH QQQ I 3I I I", *HEADER.unpack_from(data)) + data[HEADER.size :]
    with pytest.raises(FormatError, match="in another byte order"):
        lstm_infer.load(swapped)


def test_checksums_of_weights_are_held_when_a_file_is_checked(data: bytes) -> None:
    file = native(data)
    assert file is not None and file.check() == 4 + len(file.blocks)
    _, _, start, length, _ = max(file.blocks, key=lambda block: block[3])
    damaged = bytearray(data)
    damaged[start + length // 2] ^= 64
    loaded = native(bytes(damaged))
    assert loaded is not None
    with pytest.raises(FormatError, match=r"block .* does not fit its checksum"):
        loaded.check()


def test_weights_are_not_touched_before_they_are_used(tmp_path: Path) -> None:
    """A block that is wrong loads: nobody has read it."""
    path = tmp_path / "model.lsi"
    write_native(lstm_infer.load(stream_models.wide()), path)
    file = native(path)
    assert file is not None
    _, _, start, length, _ = max(file.blocks, key=lambda block: block[3])
    changed = bytearray(path.read_bytes())
    changed[start : start + length] = np.full(length // 4, np.nan, np.float32).tobytes()
    stream = lstm_infer.load(bytes(changed)).stream()
    assert np.isnan(stream.step(np.ones((1, 24), np.float32))).all()


def told(data: bytes, change: Callable[[Any], None]) -> bytes:
    """The file with another document "model", behind new checksums and without plans."""
    parts = Parts(data)
    change(parts.documents["model"])
    parts.fields[8:11] = 0, 0, 0
    return parts.sealed()


def test_parts_lie_apart(data: bytes) -> None:
    def over(model: Any) -> None:
        one, other = sorted(model["blocks"], key=lambda block: block[3])[-2:]
        one[2] = other[2] + 64

    with pytest.raises(FormatError, match="two parts overlap"):
        lstm_infer.load(told(data, over))
    lstm_infer.load(told(data, lambda model: None))


@pytest.mark.parametrize("at, more", [(5, 1), (6, 1), (6, 2**40), (0, 9)])
def test_pieces_lie_inside_their_panels(at: int, more: int, data: bytes) -> None:
    """Where a matrix begins in a panel, and in which: one further is outside."""

    def further(model: Any) -> None:
        pieces = [piece for c in model["constants"] if "packed" in c for piece in c["packed"]["pieces"]]
        piece = next(p for p in pieces if p[5] + p[1] * p[3] * 16 == p[4])  # the last matrix of its panels
        piece[at] += more

    with pytest.raises(FormatError, match=r"a piece inside its panels|a whole number from 0 to"):
        lstm_infer.load(told(data, further))


def test_booleans_are_0_or_1(tmp_path: Path) -> None:
    mask = np.array([1, 0, 1, 1], np.bool_)
    nodes = [helper.make_node("Where", ["mask", "x", "zero"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    consts = [numpy_helper.from_array(mask, "mask"), numpy_helper.from_array(np.float32(0), "zero")]
    graph = helper.make_graph(nodes, "masked", ports[:1], ports[1:], consts)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    write_native(lstm_infer.load(proto), tmp_path / "model.lsi")
    parts = Parts((tmp_path / "model.lsi").read_bytes())
    (begin,) = (block[2] for block in parts.documents["model"]["blocks"] if block[0] == "bool")
    for byte in (0, 1, 2, 255):
        parts = Parts((tmp_path / "model.lsi").read_bytes())
        parts.data[begin + 1] = byte
        if byte < 2:
            assert lstm_infer.load(parts.sealed()).run({"x": np.ones((1, 4), np.float32)})["y"][0, 1] == byte
        else:
            with pytest.raises(FormatError, match="booleans other than 0 and 1"):
                lstm_infer.load(parts.sealed())


def test_names_are_whole_characters(data: bytes) -> None:
    """JSON can say half of one, which no snapshot and no terminal can hold."""
    parts = Parts(data)
    (name,) = {node[3] for node in parts.documents["graph"]["nodes"] if node[0] == "LSTM"}
    for half in ("rec\ud800", "\udfff"):
        changed = json.loads(json.dumps(parts.documents["graph"]).replace(json.dumps(name), json.dumps(half)))
        damaged = Parts(data)
        damaged.documents["graph"] = changed
        damaged.fields[8:11] = 0, 0, 0  # without plans
        with pytest.raises(FormatError, match=r"a text expected|texts as names"):
            lstm_infer.load(damaged.sealed())


def test_damaged_files_are_refused_or_run() -> None:
    counts = fuzz(400, 2026, say=None)
    assert sum(counts.values()) == 400 and len(counts) >= 3, counts
