"""The bytes of a snapshot: a header, the phase of the stream, its state block, and what that block looks like."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

__all__ = ["Snapshot"]

_MAGIC = b"LISNAP\x00\x02"
_HEADER = struct.Struct("<8s32sqqI")  # magic and version, fingerprint, batch, payload bytes, checksum


@dataclass(frozen=True)
class Snapshot:
    """Where a stream stands. `fingerprint`: of all that has to be the same in the stream that goes on from here."""

    fingerprint: bytes
    batch: int
    phase: tuple[int, ...]
    flushed: bool
    state: NDArray[np.uint8]
    layout: bytes
    """32 bytes that tell layouts of the state block apart."""

    def pack(self) -> bytes:
        """As bytes."""
        phase = np.array((*self.phase, int(self.flushed)), "<i8")
        payload = phase.tobytes() + self.state.tobytes() + self.layout
        return _HEADER.pack(_MAGIC, self.fingerprint, self.batch, len(payload), zlib.crc32(payload)) + payload

    @classmethod
    def unpack(cls, data: Any, like: Snapshot) -> Snapshot:
        """From bytes, for a stream that stands at `like`; `FormatError` where they are not of such a one."""
        data = bytes(data)
        if len(data) < _HEADER.size:
            raise FormatError(f"the snapshot is cut off: {len(data)} bytes, its header alone takes {_HEADER.size}")
        magic, fingerprint, batch, n_bytes, checksum = _HEADER.unpack_from(data)
        payload = data[_HEADER.size :]
        if magic[:6] != _MAGIC[:6]:
            raise FormatError("these bytes are no snapshot of a stream")
        if magic != _MAGIC:
            raise FormatError(f"the snapshot has version {magic[7]}, this package reads version {_MAGIC[7]}")
        if len(payload) != n_bytes or zlib.crc32(payload) != checksum:
            raise FormatError(
                f"the snapshot is damaged: {len(payload)} bytes of state, {n_bytes} expected, or a wrong checksum"
            )
        if fingerprint != like.fingerprint:
            raise FormatError("the snapshot belongs to another model")
        if batch != like.batch:
            raise FormatError(f"the snapshot is of a stream with batch {batch}, this one has {like.batch}")
        start = 8 * (len(like.phase) + 1)
        stop = start + like.state.nbytes
        if n_bytes != stop + len(like.layout) or payload[stop:] != like.layout:
            raise FormatError(
                "the snapshot is of a stream of other sizes; make the stream with the same shapes and inputs"
            )
        *phase, flushed = (int(n) for n in np.frombuffer(payload[:start], "<i8"))
        if flushed not in (0, 1):
            raise FormatError(f"the snapshot is damaged: {flushed} where 0 or 1 says whether the stream was flushed")
        state = np.frombuffer(payload[start:stop], np.uint8)
        return cls(fingerprint, batch, tuple(phase), bool(flushed), state, like.layout)
