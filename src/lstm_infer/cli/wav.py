"""WAV files in and out: float32 arrays, one column a channel, full scale at 1.

Writing uses the standard library's `wave`. Reading does not: `wave` refuses float samples and, before Python 3.12,
the extensible header that 24-bit recorders write, and it returns what is left of a truncated file without a word.
"""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstm_infer.errors import FormatError, ShapeError

__all__ = ["read_wav", "write_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # what follows the format code in an extensible header
_UNKNOWN_LENGTH = 0xFFFFFFFF  # a writer that could not seek back; the samples go on to the end of the file
_SUPPORTED = "PCM of 8, 16, 24 or 32 bits, or float of 32 or 64 bits"


def read_wav(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Read a WAV file: (float32 [T, channels], samples per second).

    Integer samples are divided by 2 to the power of (bits - 1), so that full scale is 1; float samples are
    returned as they stand, which may be beyond 1, and may be NaN.

    Raises
    ------
    FormatError
        Not a WAV file, cut short, or coded in a way not supported (PCM 8/16/24/32, float 32/64).
    OSError
        The file cannot be read.
    """
    data = Path(path).read_bytes()
    name = os.fspath(path)
    if not data:
        raise FormatError(f"{name}: the file is empty; write it again")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise FormatError(f"{name}: not a WAV file: expected RIFF....WAVE, got {data[:12]!r}")
    layout: _Layout | None = None
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if kind == b"data" and size == _UNKNOWN_LENGTH:
            size = len(data) - at
        if size > len(data) - at:
            raise FormatError(
                f"{name}: cut short: chunk {kind!r} at byte {at - 8} has {size} bytes, {len(data) - at} are left"
            )
        if kind == b"fmt ":
            layout = _Layout(data[at : at + size], name)
        elif kind == b"data":
            if layout is None:
                raise FormatError(f"{name}: the samples come before the header that describes them ('fmt ')")
            return layout.decode(data[at : at + size], name), layout.rate
        at += size + size % 2
    raise FormatError(f"{name}: no 'data' chunk in {len(data)} bytes: the file is cut short, or not audio")


def write_wav(path: str | os.PathLike[str], samples: NDArray[np.floating], rate: int, *, bits: int = 16) -> None:
    """Write float samples, [T] or [T, channels], as PCM of 16 or 24 bits.

    Values are rounded to the nearest step, and clipped where they are beyond full scale; no dither is added. What
    `read_wav` returns for a file of no more than `bits` bits is written back unchanged.

    Raises
    ------
    ShapeError
        Not one or two axes, or not 1 to 65535 channels.
    FormatError
        `bits` is not 16 or 24, the rate is not a positive 32-bit number, a sample is NaN or infinite, or the file
        would pass 4 GiB. Nothing has been written then.
    OSError
        The file cannot be written.
    """
    x = np.asarray(samples, dtype=np.float64)
    name = os.fspath(path)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or not 1 <= x.shape[1] <= 0xFFFF:
        raise ShapeError(f"{name}: expected samples [T] or [T, channels], got shape {np.shape(samples)}")
    if bits not in (16, 24):
        raise FormatError(f"{name}: bits: expected 16 or 24, got {bits}")
    n_frame_bytes = bits // 8 * x.shape[1]
    if not 0 < rate <= 0xFFFFFFFF // n_frame_bytes or n_frame_bytes > 0xFFFF:
        raise FormatError(f"{name}: a WAV header cannot hold rate {rate} with {x.shape[1]} channels of {bits} bits")
    if x.shape[0] * n_frame_bytes > 0xFFFFFFFF - 64:
        raise FormatError(f"{name}: {x.shape[0]} frames would pass 4 GiB, the most that a WAV file holds; split it")
    if not np.isfinite(x).all():
        t, channel = np.argwhere(~np.isfinite(x))[0]
        raise FormatError(f"{name}: sample {t} of channel {channel} is {x[t, channel]}; PCM holds finite numbers only")
    full = 1 << (bits - 1)
    whole = np.clip(np.rint(x * full), -full, full - 1).astype("<i4")
    raw = whole.astype("<i2") if bits == 16 else np.ascontiguousarray(whole)[..., None].view(np.uint8)[..., :3]
    # opened here: wave would leave half an object where it cannot open it
    with open(name, "wb") as out, wave.open(out, "wb") as file:
        file.setnchannels(x.shape[1])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw.tobytes())


class _Layout:
    """What the 'fmt ' chunk says: code, channels, rate, bits; checked, since the samples are cut up by it."""

    def __init__(self, chunk: bytes, name: str) -> None:
        if len(chunk) < 16:
            raise FormatError(f"{name}: the 'fmt ' chunk has {len(chunk)} bytes, expected 16 or more")
        self.code, self.channels, self.rate, _, n_frame_bytes, self.bits = struct.unpack_from("<HHIIHH", chunk)
        if self.code == _EXTENSIBLE:
            if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
                raise FormatError(f"{name}: an extensible header of an unknown kind; supported: {_SUPPORTED}")
            self.code = int.from_bytes(chunk[24:26], "little")
        if (self.code, self.bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)):
            raise FormatError(f"{name}: format code {self.code} with {self.bits} bits; supported: {_SUPPORTED}")
        if self.channels == 0 or self.rate == 0:
            raise FormatError(f"{name}: {self.channels} channels at {self.rate} samples/s")
        if n_frame_bytes != self.channels * self.bits // 8:
            raise FormatError(
                f"{name}: a frame of {self.channels} channels with {self.bits} bits has "
                f"{self.channels * self.bits // 8} bytes, the header says {n_frame_bytes}"
            )

    def decode(self, raw: bytes, name: str) -> NDArray[np.float32]:
        """Samples [T, channels]."""
        if len(raw) % (self.channels * self.bits // 8):
            raise FormatError(f"{name}: {len(raw)} bytes of samples are no whole number of frames: the file is damaged")
        samples: NDArray[np.float32]
        if self.code == _FLOAT:
            samples = np.frombuffer(raw, f"<f{self.bits // 8}").astype(np.float32)
        elif self.bits == 8:  # the one unsigned size
            samples = (np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
        elif self.bits == 24:
            wide = np.zeros((len(raw) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)  # into the upper bytes, which keeps the sign
            samples = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
        else:
            samples = np.frombuffer(raw, f"<i{self.bits // 8}").astype(np.float32) / np.float32(1 << (self.bits - 1))
        return samples.reshape(-1, self.channels)
