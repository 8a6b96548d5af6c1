"""The bytes of a snapshot, read by what docs/snapshots.md says and nothing else."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

import shared_files
import tolerances
from lstm_infer import _states
from snapshot_cases import CASES

KEPT = shared_files.ROOT / "tests" / "data" / "snapshots" / "v3"
KINDS = ["state", "window", "queue", "lengths"]


def checksum(data: bytes) -> int:
    """Over data, in whole numbers of Python."""

    def mixed(total: int, word: int) -> int:
        total = (total ^ word) * 0x9E3779B97F4A7C15 % 2**64
        return (total << 32 | total >> 32) % 2**64

    sums = [1, 2, 3, 4]
    padded = data + bytes(32 - len(data) % 32)
    for at in range(0, len(padded), 8):
        sums[at // 8 % 4] = mixed(sums[at // 8 % 4], int.from_bytes(padded[at : at + 8], "little"))
    total = len(data)
    for one in sums:
        total = mixed(total, one)
    return total


class Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple:
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def text(self) -> str:
        (n,) = self.take("<H")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8")


def parsed(data: bytes) -> tuple[dict, dict, dict]:
    """Fixed part, signs, and entries with an array for each signal (or one for all)."""
    magic, version, total, length, batch, flushed, n_signs, n_entries, header, zero = struct.unpack_from(
        "<7sBQQ6I", data
    )
    assert (magic, version, length, zero, header % 8) == (b"LISNAP\0", 3, len(data), 0, 0)
    assert total == checksum(data[16:])
    reader = Reader(data, 48)
    signs = {}
    for _ in range(n_signs):
        name = reader.text()
        own, n = reader.take("<BI")
        assert n == (batch if own else 1)
        signs[name] = [reader.take("<16s")[0] for _ in range(n)]
    assert list(signs) == sorted(signs)
    told = []
    for _ in range(n_entries):
        name, dtype = reader.text(), reader.text()
        kind, own, axis, rank, held = reader.take("<BBbBq")
        shape = reader.take(f"<{rank}Q")
        if axis >= 0:
            assert shape[axis] == max(held, 0)
        told.append((KINDS[kind], name, np.dtype(dtype), own, shape, held))
    assert not any(data[reader.at : header])
    assert header - reader.at < 8
    reader.at = header
    entries = {(kind, name): [] for kind, name, *_ in told}
    for part in (1, 0):
        for _ in range(batch if part else 1):
            for kind, name, dtype, own, shape, _held in told:
                if own == part:
                    n = int(np.prod(shape))
                    entries[kind, name].append(np.frombuffer(data, dtype, n, reader.at).reshape(shape))
                    reader.at += n * dtype.itemsize
    assert reader.at == len(data)
    return {"batch": batch, "flushed": flushed, "held": {(t[0], t[1]): t[5] for t in told}}, signs, entries


@pytest.mark.parametrize("n", [16, 17, 47, 48, 49, 80, 143, 144])
def test_the_checksum(n):
    data = np.random.default_rng(n).bytes(n)
    assert _states.checksum(data) == checksum(data[16:])
    for at in range(16, n):
        changed = data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        assert _states.checksum(changed) != _states.checksum(data)


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.snapshot")), ids=lambda path: path.stem)
def test_the_kept_ones(path):
    fixed, signs, entries = parsed(path.read_bytes())
    assert fixed["batch"] == 2
    assert {"weights", "graph", "precision", "streaming"} <= signs.keys()
    assert signs["precision"] == [hashlib.sha256(b"str 'f32';").digest()[:16]]
    assert len(entries) >= 1


@pytest.mark.parametrize("name", CASES)
def test_states_stand_in_it_as_the_stream_shows_them(name):
    case = CASES[name]
    model = case.model()
    stream = case.stream(model, 3)
    stream.run(case.signal(9, 3))
    fixed, _, entries = parsed(stream.snapshot())
    assert fixed["batch"] == 3
    for info in model.states:
        for row, part in enumerate(entries["state", info.name]):
            tolerances.exact(part, np.take(stream.state[info.name], row, info.batch_axis), f"{info.name} of row {row}")
    states = {name for kind, name in entries if kind == "state"}
    assert states == {info.name for info in model.states}


def test_a_window_holds_the_last_steps():
    case = CASES["causal"]
    x, stream = case.signal(9, 2), case.stream(batch=2)
    stream.run(x)
    fixed, _, entries = parsed(stream.snapshot())
    assert fixed["held"]["window", "conv"] == 2
    for row, part in enumerate(entries["window", "conv"]):  # [features, 1, steps], of x [batch, steps, features]
        tolerances.exact(part[:, 0], x[row, -2:].T)


def test_a_queue_holds_what_waits():
    case = CASES["queue"]
    x, stream = case.signal(9, 2), case.stream(batch=2)
    stream.run(x)
    fixed, _, entries = parsed(stream.snapshot())
    assert fixed["held"]["queue", "meet:1"] == 2
    for row, part in enumerate(entries["queue", "meet:1"]):
        tolerances.exact(part, x[row, :, -2:])
    stream.flush()
    fixed, *_ = parsed(stream.snapshot())
    assert fixed["flushed"] == 1
    assert set(fixed["held"].values()) == {0}


def test_weights_and_what_is_bound_by_their_digests():
    case = CASES["speaker"]
    stream = case.stream(batch=2)
    _, signs, _ = parsed(stream.snapshot())
    rows = case.inputs(2)["speaker"]
    want = [hashlib.sha256(f"array float32 {row.shape};".encode() + row.tobytes()).digest()[:16] for row in rows]
    assert signs["input speaker"] == want


@pytest.mark.parametrize("name", ["lag", "stride", "queue"])
def test_behind_a_flush_nothing_is_held(name):
    case = CASES[name]
    stream = case.stream(batch=2)
    stream.run(case.signal(9, 2))
    assert any(parsed(stream.snapshot())[0]["held"].values())
    stream.flush()
    fixed, _, _ = parsed(stream.snapshot())
    assert fixed["flushed"] == 1
    assert not any(held for (kind, _), held in fixed["held"].items() if kind in ("window", "queue"))
