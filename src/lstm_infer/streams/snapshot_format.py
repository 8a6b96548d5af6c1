"""The bytes of a snapshot, version 3: docs/snapshots.md has the layout. Here they are written and read; what they are held
against stands in `snapshot.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from .. import _states, given
from ..errors import ArgumentError, FormatError
from ..fingerprint import SIGN_BYTES, Sign
from ..frozen import frozen

__all__ = ["KEY", "Entry", "Read", "as_bytes", "key_of", "read", "written"]

VERSION = 3
_MAGIC = b"LISNAP\x00"
_FIXED = struct.Struct("<7sBQQIIIIII")
"""Magic, version, checksum, bytes of all; then signals, whether flushed, signs, entries, bytes of the header, 0."""
KEY = 24
"""From here on a header says whose snapshot it is, and how it stands."""
_SIGN = struct.Struct("<BI")
_ENTRY = struct.Struct("<BBbBq")
_TEXT = struct.Struct("<H")
_EXTENT = struct.Struct("<Q")
_KINDS = ("state", "window", "queue", "lengths")
_DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
_MOST_TEXT = 2**16 - 1


@frozen
class Entry:
    """One thing that a stream keeps, as a snapshot tells it. `own`: each signal has its part; `shape`: of that part."""

    kind: str
    name: str
    dtype: str
    own: bool
    shape: tuple[int, ...]
    time: int
    """The axis with the steps; -1: none."""
    held: int
    """So many steps are kept; below 0: so many of those to come are left out."""

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@frozen
class Read:
    """A snapshot, whole and unharmed; `payload`: where what its entries hold begins in `data`."""

    data: bytes
    signs: Mapping[str, Sign]
    batch: int
    flushed: bool
    entries: tuple[Entry, ...]
    payload: int

    def parts(self, order: Sequence[int]) -> bytes:
        """What the entries hold, in this order: those of each signal first, as a snapshot has them."""
        own = [i for i in order if self.entries[i].own]
        shared = [i for i in order if not self.entries[i].own]
        at, places = self.payload, dict[int, int]()
        for i, entry in enumerate(self.entries):
            if entry.own:
                places[i], at = at, at + entry.n_bytes
        stride = at - self.payload
        at = self.payload + self.batch * stride
        for i, entry in enumerate(self.entries):
            if not entry.own:
                places[i], at = at, at + entry.n_bytes
        cuts = [(places[i] + row * stride, self.entries[i].n_bytes) for row in range(self.batch) for i in own]
        cuts += [(places[i], self.entries[i].n_bytes) for i in shared]
        return b"".join(self.data[begin : begin + n] for begin, n in cuts)


def written(signs: Mapping[str, Sign], batch: int, flushed: bool, entries: Sequence[Entry]) -> bytes:
    """A header; the checksum is still to come."""
    body = b"".join(
        _text(name) + _SIGN.pack(s.own, len(s.values)) + b"".join(s.values) for name, s in sorted(signs.items())
    )
    for e in entries:
        body += _text(e.name) + _text(e.dtype)
        body += _ENTRY.pack(_KINDS.index(e.kind), e.own, e.time, len(e.shape), e.held)
        body += b"".join(map(_EXTENT.pack, e.shape))
    n_header = -(-(_FIXED.size + len(body)) // 8) * 8
    n_payload = sum(entry.n_bytes * (batch if entry.own else 1) for entry in entries)
    fixed = _FIXED.pack(
        _MAGIC, VERSION, 0, n_header + n_payload, batch, flushed, len(signs), len(entries), n_header, 0
    )  # fmt: skip
    return (fixed + body).ljust(n_header, b"\0")


def _text(text: str) -> bytes:
    found = text.encode()
    if len(found) > _MOST_TEXT:
        raise FormatError(
            f"{text[:40]!r}...: a snapshot has room for names of {_MOST_TEXT} bytes, this one has {len(found)}"
        )
    return _TEXT.pack(len(found)) + found


def as_bytes(data: Any) -> bytes:
    """What was given for a snapshot, as nobody else can change it."""
    if type(data) is bytes:
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        readable = ("read", "tobytes", "read_bytes")
        hint = next((f"; give its {name}()" for name in readable if hasattr(data, name)), "")
        hint = "; of a file: pathlib.Path(path).read_bytes()" if isinstance(data, str) else hint
        raise ArgumentError(f"a snapshot is bytes, as Stream.snapshot gives them, got {given.shown(data)}{hint}")
    try:
        return bytes(data)
    except ValueError as error:
        raise ArgumentError(f"a snapshot is bytes, got a memoryview that cannot be read: {error}") from error


def key_of(data: bytes) -> bytes:
    """The part of a header that is the same in all snapshots of streams that stand alike; b"": there is no header."""
    if len(data) < _FIXED.size:
        return b""
    return data[KEY : int.from_bytes(data[40:44], "little")]


def read(data: bytes) -> Read:
    """A snapshot in its parts; `FormatError` where it is none, damaged, or of another version."""
    if len(data) < _FIXED.size:
        if not _MAGIC.startswith(data[:7]):
            raise FormatError("these bytes are no snapshot of a stream")
        raise FormatError(f"the snapshot is cut off: {len(data)} bytes, its header alone takes {_FIXED.size}")
    magic, version, checksum, n_bytes, batch, flushed, n_signs, n_entries, n_header, _ = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise FormatError("these bytes are no snapshot of a stream")
    if version != VERSION:
        older = "" if version > VERSION else "; take a new one, older ones hold the memory of one plan"
        raise FormatError(f"the snapshot has version {version}, this package reads version {VERSION}{older}")
    if len(data) != n_bytes or _states.checksum(data) != checksum:
        raise FormatError(f"the snapshot is damaged: {len(data)} bytes, {n_bytes} expected, or a wrong checksum")
    if flushed > 1 or batch < 1 or not _FIXED.size <= n_header <= len(data):
        raise FormatError(
            f"the snapshot is damaged: {batch} signals, {flushed} where 0 or 1 says whether the stream was flushed, "
            f"a header of {n_header} bytes"
        )
    reader = _Reader(data, _FIXED.size, n_header)
    signs = dict(reader.sign() for _ in range(n_signs))
    entries = tuple(reader.entry() for _ in range(n_entries))
    if len(signs) != n_signs or len({(e.kind, e.name) for e in entries}) != n_entries:
        raise FormatError("the snapshot is damaged: a name is there twice")
    held = n_header + sum(entry.n_bytes * (batch if entry.own else 1) for entry in entries)
    if held != n_bytes:
        raise FormatError(f"the snapshot is damaged: {n_bytes} bytes, its entries take {held}")
    return Read(data, signs, batch, bool(flushed), entries, n_header)


@dataclass
class _Reader:
    """Goes over the names of a header, and never behind its end."""

    data: bytes
    at: int
    end: int

    def take(self, n: int) -> bytes:
        begin, self.at = self.at, self.at + n
        if self.at > self.end:
            raise FormatError("the snapshot is damaged: its header ends in the middle of a name")
        return self.data[begin : self.at]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def text(self) -> str:
        try:
            return self.take(*self.unpack(_TEXT)).decode()
        except UnicodeDecodeError as error:
            raise FormatError("the snapshot is damaged: a name in it is not UTF-8") from error

    def sign(self) -> tuple[str, Sign]:
        name = self.text()
        own, n = self.unpack(_SIGN)
        values = self.take(n * SIGN_BYTES)
        return name, Sign(tuple(values[i : i + SIGN_BYTES] for i in range(0, len(values), SIGN_BYTES)), bool(own))

    def entry(self) -> Entry:
        name, dtype = self.text(), self.text()
        kind, own, time, rank, held = self.unpack(_ENTRY)
        if kind >= len(_KINDS) or dtype not in _DTYPES or own > 1 or not -1 <= time <= rank:
            raise FormatError(f"the snapshot is damaged: {name!r} is of no known kind, or of no known type ({dtype!r})")
        shape = tuple(self.unpack(_EXTENT)[0] for _ in range(rank))
        return Entry(_KINDS[kind], name, dtype, bool(own), shape, time, held)
