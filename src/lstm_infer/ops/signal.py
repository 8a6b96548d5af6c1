"""DFT-20 (17), STFT-17, MelWeightMatrix-17: spectra as matrix products.

    DFT    y[m] = sum over n of x[n] (cos(2 pi m n / N) -+ i sin(2 pi m n / N)), divided by N where it is inverse
    STFT   the DFT of every frame of frame_length samples, frame_step apart, times the window

A complex number is an axis of two at the end, so that the table is one real matrix [N * parts, M * parts]; it is made in
float64 and packed once. A table of more than `_MOST` numbers is not made: NumPy's FFT then runs on the host.
Over time STFT is a strided window, as a Conv is. Refused: lengths, steps and axes that depend on the data.
"""

from __future__ import annotations

from dataclasses import replace
from math import log10, pi
from typing import Any

import numpy as np

from .. import _core
from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link, Window
from ..program.builder import Builder
from ..program.views import View
from . import work
from .common import normal_axis, onnx_dtype
from .elementwise import apply
from .matmul import product
from .registry import Op, attr, find, known, need, register, unsupported

_MOST = 1 << 22
"""Numbers in a table: 16 MiB."""
_LONGEST = 1 << 24


@frozen
class Transform:
    """A transform of `used` samples (those behind are 0) of a length of `n`, each of `parts` numbers, to `bins` of
    `made` numbers."""

    n: int
    used: int
    parts: int
    bins: int
    made: int
    inverse: bool
    half: bool
    """The input is one half of a spectrum whose other half mirrors it."""

    @property
    def size(self) -> int:
        return self.used * self.parts * self.bins * self.made


def table(t: Transform) -> Array:
    """The transform as a matrix [used * parts, bins * made], in float64."""
    angle = 2 * pi / t.n * (np.outer(np.arange(t.used), np.arange(t.bins)) % t.n)
    cos, sin = np.cos(angle), np.sin(angle) * (1 if t.inverse else -1)
    rows = [[cos, sin], [-sin, cos]]  # of the real and of the imaginary part
    made = np.empty((t.used, t.parts, t.bins, t.made))
    for part in range(t.parts):
        for out in range(t.made):
            made[:, part, :, out] = rows[part][out]
    if t.half:  # each bin stands for its mirror image too, but for those that are their own
        own = (np.arange(t.used) * 2) % t.n == 0
        made *= np.where(own, 1, 2)[:, None, None, None]
    return made.reshape(t.used * t.parts, t.bins * t.made) / (t.n if t.inverse else 1)


def _number(node: Node, ins: list[Fact | None], index: int, what: str) -> int | None:
    if index >= len(ins) or ins[index] is None:
        return None
    found = known(node, ins[index], what).reshape(-1)
    if found.size != 1:
        raise ShapeError(f"{node}: {what} is one number, got {found.size}")
    return int(found[0])


def _float(node: Node, x: Fact) -> None:
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")


def _matrix(b: Builder, key: Any, w: Array) -> View:
    """A matrix made just now, packed."""
    k, m = w.shape

    def make() -> Array:
        flat = np.ascontiguousarray(w, np.float32)
        return _core.pack_f32(flat, gates=1, n_units=m, k=k, gate_stride=0, unit_stride=1, k_stride=m)

    return b.packed(key, make)


# ---- DFT -------------------------------------------------------------------------------------------------------------


def transform_of(node: Node, ins: list[Fact | None]) -> tuple[int, Transform]:
    """The axis, and what is done along it."""
    x: Fact = need(node, ins, 0)
    _float(node, x)
    rank = len(x.shape)
    given = _number(node, ins, 2, "an axis")
    axis = normal_axis(node, -2 if given is None else given, rank)
    if rank < 2 or x.shape[-1] not in (1, 2) or axis == rank - 1:
        raise ShapeError(f"{node}: takes [..., 1 or 2] and an axis before the last, got {list(x.shape)} and {axis}")
    inverse, half = bool(attr(node, "inverse", 0)), bool(attr(node, "onesided", 0))
    length = _number(node, ins, 1, "a length")
    default = 2 * (x.shape[axis] - 1) if inverse and half else x.shape[axis]
    n = default if length is None else length
    if not 1 <= n <= _LONGEST:
        raise ShapeError(f"{node}: a length of {n}; it lies between 1 and {_LONGEST}")
    if inverse and half:
        return axis, Transform(n, min(x.shape[axis], n // 2 + 1), x.shape[-1], n, 1, True, True)
    if half and x.shape[-1] == 2:
        raise OnnxImportError(f"{node}: onesided of a complex input, which has no mirrored half; the file is broken")
    return axis, Transform(n, min(x.shape[axis], n), x.shape[-1], n // 2 + 1 if half else n, 2, inverse, False)


def infer_dft(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis, t = transform_of(node, ins)
    shape = [*x.shape[:-1], t.made]
    shape[axis] = t.bins
    return [Fact(tuple(shape), x.dtype)]


def _spectrum(x: Any, axis: int, t: Transform) -> Array:
    """By NumPy's FFT, in float64."""
    x = np.asarray(x, np.float64)
    z = x[..., 0] + (1j * x[..., 1] if t.parts == 2 else 0)
    if t.half:
        return np.fft.irfft(z, t.n, axis)[..., None]
    z = np.fft.ifft(z, t.n, axis) if t.inverse else np.fft.fft(z, t.n, axis)
    z = np.take(z, range(t.bins), axis)
    return np.stack([z.real, z.imag], -1)


def evaluate_dft(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    return [_spectrum(x, *transform_of(node, [None if a is None else Fact.of(a) for a in ins])).astype(x.dtype)]


def flow_dft(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axis, _ = transform_of(node, ins)
    return [Link(0, a, 0, a) for a in range(len(outs[0].shape) - 1) if a != axis]


def lower_dft(node: Node, b: Builder) -> None:
    axis, t = transform_of(node, [b.fact(name) if name else None for name in node.inputs])
    if t.size > _MOST:
        b.host(node, find(node).evaluate)
        return
    x = b.f32(b.view(node.inputs[0])).part(axis, 0, t.used)
    rank = len(x.shape)
    order = [*(a for a in range(rank - 1) if a != axis), axis, rank - 1]
    x = x.transpose(order)
    lead, shape = x.shape[:-2], b.fact(node.outputs[0]).shape
    out = b.alloc((*lead, t.bins * t.made))
    k = t.used * t.parts
    product(b, b.reshape(x, (*lead, k)), _matrix(b, ("dft", t), table(t)), None, out, k, t.bins * t.made)
    made = b.reshape(out, (*lead, t.bins, t.made)).transpose([order.index(a) for a in range(rank)])
    assert made.shape == shape
    b.bind(node.outputs[0], made)


# ---- STFT: signal [B, L, 1 or 2] -> [B, frames, bins, 2] -------------------------------------------------------------


def _frames(node: Node, ins: list[Fact | None]) -> tuple[int, int, Transform]:
    """(frames, step, the transform of one of them)."""
    x: Fact = need(node, ins, 0)
    _float(node, x)
    parts = x.shape[-1] if len(x.shape) == 3 else 1
    step, n = _number(node, ins, 1, "a frame step"), _number(node, ins, 3, "a frame length")
    window = ins[2] if len(ins) > 2 else None
    if n is None and window is not None:
        n = window.shape[0]
    if step is None or n is None or step < 1 or n < 1 or len(x.shape) not in (2, 3) or parts not in (1, 2):
        raise ShapeError(
            f"{node}: signal {list(x.shape)}, frames of {n} every {step}: expected [B, L, 1 or 2], 1 or more"
        )
    if window is not None and window.shape != (n,):
        raise ShapeError(f"{node}: a window of {list(window.shape)} for frames of {n}")
    if x.shape[1] < n:
        raise ShapeError(f"{node}: frames of {n} do not fit a signal of {x.shape[1]}")
    half = bool(attr(node, "onesided", 1))
    if half and parts == 2:
        raise OnnxImportError(f"{node}: onesided of a complex input, which has no mirrored half; the file is broken")
    return (x.shape[1] - n) // step + 1, step, Transform(n, n, parts, n // 2 + 1 if half else n, 2, False, False)


def infer_stft(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    frames, _, t = _frames(node, ins)
    return [Fact((x.shape[0], frames, t.bins, 2), x.dtype)]


def evaluate_stft(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    frames, step, t = _frames(node, [None if a is None else Fact.of(a) for a in ins])
    x = given.reshape(*given.shape[:2], t.parts)
    x = x[:, np.arange(frames)[:, None] * step + np.arange(t.n)]  # [B, frames, n, parts]
    if len(ins) > 2 and ins[2] is not None:
        x = x * ins[2][:, None]
    return [_spectrum(x, 2, t).astype(given.dtype)]


def flow_stft(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    _, step, t = _frames(node, ins)
    return [Link(0, 0, 0, 0), Link(0, 1, 0, 1, "window", Window(t.n, step))]


def lower_stft(node: Node, b: Builder) -> None:
    frames, step, t = _frames(node, [b.fact(name) if name else None for name in node.inputs])
    window = b.optional(node, 2)
    weights = b.const_of(window) if window else np.ones(t.n)
    if t.size > _MOST:
        b.host(node, find(node).evaluate)
        return
    x = b.dense(b.f32(b.view(node.inputs[0])))
    signal, k = x.shape[0], t.n * t.parts
    shape, strides = (signal, frames, k), (x.size // max(signal, 1), step * t.parts, 1)
    taken = replace(x, shape=shape, strides=strides)
    if weights is None:
        weighted = b.alloc(shape)
        row = b.f32(b.view(window)).add_axis(1).expand((t.n, t.parts))
        apply(b, ("MUL", 0, 1), [taken, b.reshape(row, (k,))], weighted)
        taken = weighted
    y = b.new(node.outputs[0])
    scale: Any = np.ones(t.n) if weights is None else weights
    key = ("stft", t, scale.tobytes())
    matrix = _matrix(b, key, table(t) * np.repeat(np.asarray(scale, np.float64), t.parts)[:, None])
    product(b, taken, matrix, None, b.reshape(y, (signal, frames, t.bins * 2)), k, t.bins * 2)


# ---- MelWeightMatrix: [bins of the spectrum, mel bins], triangles that overlap --------------------------------------


def _mel_sizes(node: Node, ins: list[Fact | None]) -> tuple[tuple[int, int], tuple[int, int, float, float]]:
    """(bins of the spectrum, mel bins), (length of the transform, rate, lowest and highest frequency)."""
    numbers = [known(node, need(node, ins, i), "a mel filter bank").reshape(-1) for i in range(5)]
    if any(n.size != 1 or not np.isfinite(n[0]) for n in numbers):
        raise ShapeError(f"{node}: takes five finite numbers")
    n_mel, length, rate = (int(n[0]) for n in numbers[:3])
    low, high = (float(n[0]) for n in numbers[3:])
    bins = length // 2 + 1
    if not (0 < n_mel < _LONGEST and 0 < length < _LONGEST and rate > 0 and bins * n_mel <= 1 << 26):
        raise ShapeError(f"{node}: {n_mel} mel bins of a transform of {length} at {rate} Hz cannot be made")
    if not -700 < low <= high or high > rate:
        raise ShapeError(f"{node}: edges of {low} and {high} Hz at a rate of {rate} Hz")
    return (bins, n_mel), (length, rate, low, high)


_ROWS = 1 << 16
"""Elements of the matrix that are made together."""


def _mel(node: Node, ins: list[Fact | None]) -> Array:
    (bins, n_mel), (length, rate, low, high) = _mel_sizes(node, ins)
    from_mel, to_mel = (2595 * log10(1 + edge / 700) for edge in (low, high))
    mel = np.arange(n_mel + 2) * ((to_mel - from_mel) / (n_mel + 2)) + from_mel
    edges = ((length + 1) * (700 * (10 ** (mel / 2595) - 1)) // rate).astype(np.int64)
    left, middle, right = (edges[i : n_mel + i] for i in range(3))
    made, rows = np.empty((bins, n_mel), _mel_dtype(node)), max(_ROWS // n_mel, 1)
    for first in range(0, bins, rows):
        at = np.arange(first, min(first + rows, bins))[:, None]
        with np.errstate(all="ignore"):
            up, down = (at - left) / (middle - left), (right - at) / (right - middle)
        rising = np.where((at >= left) & (at <= middle), np.where(middle == left, 1, up), 0)
        made[first : first + rows] = np.where((at >= middle) & (at < right), down, rising)
    return made


def _mel_dtype(node: Node) -> np.dtype[Any]:
    return onnx_dtype(node, int(attr(node, "output_datatype", 1)))


def infer_mel(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact(_mel_sizes(node, ins)[0], _mel_dtype(node))]


def evaluate_mel(node: Node, ins: list[Array | None]) -> list[Array]:
    return [_mel(node, [None if a is None else Fact.of(a) for a in ins])]


def _stft_work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    frames, _, t = _frames(node, ins)
    return 200 * outs[0].shape[0] * frames * t.n


_RUNS = "matmul_f32; large ones on the host"
register(
    Op("DFT", infer_dft, evaluate_dft, flow_dft, lower_dft, work=work.per_element(50), opsets=(17, None), runs=_RUNS, sizes=(1, 2)),
    Op("STFT", infer_stft, evaluate_stft, flow_stft, lower_stft, work=_stft_work, opsets=(17, None), runs=_RUNS,
       note="over time a strided window", sizes=(1, 3)),
    Op("MelWeightMatrix", infer_mel, evaluate_mel, work=work.per_element(10), opsets=(17, None), runs="known"),
)  # fmt: skip
