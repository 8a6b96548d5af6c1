"""docs/format.md is enough to read a file: its weights come out by JSON, struct and the formulas of that page alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lstm_infer
import stream_models
from lstm_infer import FormatError
from lstm_infer.conversion.native import write_native

HEADER = struct.Struct("<8s I HH QQQ I 3I I I")


class Reader:
    """A file as that page describes it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        start, length = HEADER.unpack_from(data)[5:7]
        head = json.loads(data[start : start + length])
        self.documents = {name: self.document(span) for name, span in head["documents"].items()}
        self.model, self.graph = self.documents["model"], self.documents["graph"]

    def document(self, span: list[int]) -> Any:
        begin, length, checksum = span
        assert begin % 64 == 0 and crc32(self.data[begin : begin + length]) == checksum
        return json.loads(self.data[begin : begin + length])

    def block(self, number: int) -> np.ndarray:
        dtype, shape, begin, length, checksum = self.model["blocks"][number]
        part = self.data[begin : begin + length]
        assert begin % 64 == 0 and crc32(part) == checksum
        return np.frombuffer(part, np.dtype(dtype).newbyteorder("<")).reshape(shape)

    def constant(self, number: int) -> np.ndarray:
        said = self.model["constants"][number]
        return self.block(said["block"]) if "block" in said else self.packed(said)

    def packed(self, said: dict[str, Any]) -> np.ndarray:
        kind = said["packed"]["kind"]
        rows = [self.piece(kind, *piece) for piece in said["packed"]["pieces"]]
        whole = np.concatenate(rows)
        if not said["packed"]["turned"]:
            whole = whole.T
        return np.ascontiguousarray(whole).reshape(said["shape"]).astype(said["dtype"])

    def piece(self, kind: str, panels: int, gates: int, units: int, k: int, panel: int, start: int, first: int) -> Any:
        """Rows [gates * units, k], an element at a time."""
        words = self.block(self.model["panels"][panels]["block"])
        found = np.empty((gates, units, k), np.float32)

        def word(unit: int, gate: int, position: int) -> Any:
            return words[(first + unit // 16) * panel + start + (position * gates + gate) * 16 + unit % 16]

        for gate, unit, i in np.ndindex(found.shape):
            if kind != "int8":
                found[gate, unit, i] = word(unit, gate, i)
                continue
            scale = np.asarray(word(unit, gate, 0)).view(np.float32)
            zero = int(word(unit, gate, 2))
            byte = int(word(unit, gate, 3 + i // 4)) >> 8 * (i % 4) & 255
            signed = byte - 256 if byte > 127 else byte
            found[gate, unit, i] = np.float32(signed - zero) * scale
        return found.reshape(gates * units, k)


def written(kind: str, path: Path) -> Reader:
    write_native(lstm_infer.load(stream_models.wide(), precision=kind), path)
    return Reader(path.read_bytes())


@pytest.mark.parametrize("kind", ["f32", "f16", "int8"])
def test_the_weights_are_where_the_page_says(kind: str, tmp_path: Path) -> None:
    source = stream_models.wide()
    graph = (onnx.load_from_string(source) if isinstance(source, bytes) else source).graph
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    file = written(kind, tmp_path / "model.lsi")
    packed = 0
    for name, number in file.graph["consts"].items():
        if name not in ("W", "R", "D"):
            continue
        packed += "packed" in file.model["constants"][number]
        read, true = file.constant(number), weights[name]
        assert read.shape == true.shape
        if kind == "f32":
            np.testing.assert_array_equal(read, true)
        elif kind == "f16":
            np.testing.assert_array_equal(read, true.astype(np.float16).astype(np.float32))
        else:  # half a step of a row's own scale
            rows = true.T if name == "D" else true[0]
            steps = np.abs(rows).max(1, keepdims=True) / 127
            off = np.abs((read.T if name == "D" else read[0]) - rows)
            assert (off <= 0.5001 * steps).all() and off.max() > 0
    assert packed == 3


def test_panels_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    file = written("f32", tmp_path / "model.lsi")
    assert file.model["units"] == 16
    for units, refused in ((8, True), (32, True), (16, False)):
        begin, length, _ = json.loads(head_of(file.data))["documents"]["model"]
        text = json.dumps({**file.model, "units": units}).encode()
        data = resealed(file.data, (begin, length), text)
        if refused:
            with pytest.raises(FormatError, match=f"panels hold {units} units, this release reads 16"):
                lstm_infer.load(data).run({"x": np.zeros((1, 1, 24), np.float32)})
        else:
            assert lstm_infer.load(data).run({"x": np.zeros((1, 1, 24), np.float32)})["y"].shape == (1, 1, 144)


def head_of(data: bytes) -> bytes:
    start, length = HEADER.unpack_from(data)[5:7]
    return data[start : start + length]


def resealed(data: bytes, old: tuple[int, int], document: bytes) -> bytes:
    """With another document "model" behind all else, and all checksums right."""
    head = json.loads(head_of(data))
    assert tuple(head["documents"]["model"][:2]) == old
    out = bytearray(data)
    places = []
    for part in (document, None):
        if part is None:
            head["documents"]["model"] = places[0]
            part = json.dumps(head).encode()
        out += bytes(-len(out) % 64)
        places.append([len(out), len(part), crc32(part)])
        out += part
    fields = list(HEADER.unpack_from(data))
    fields[4:8] = [len(out), *places[1]]
    out[: HEADER.size] = HEADER.pack(*fields[:-1], crc32(HEADER.pack(*fields)[: HEADER.size - 4]))
    return bytes(out)
