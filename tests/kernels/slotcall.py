"""Calls one slot of one instruction set on numpy arrays, with guard bytes around every output.

Everything here turns numpy views into the words of li_kernels.h; nothing computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from lstm_infer import _check, _core

ISAS = [name for name, runnable in _core.list_isas() if runnable]
FUSED = [name for name in ISAS if name != "scalar"]
DTYPES = ("f32", "f64", "f16", "bf16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool")
NUMPY = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "i8": np.int8,
    "u8": np.uint8, "i16": np.int16, "u16": np.uint16, "i32": np.int32, "u32": np.uint32, "i64": np.int64,
    "u64": np.uint64, "bool": np.bool_,
}  # fmt: skip
CODE = {np.dtype(NUMPY[name]): i for i, name in enumerate(DTYPES)}
SIZES = (1, 2, 3, 15, 16, 17, 33, 255, 256, 257, 1000)
REDUCTIONS = ("sum", "mean", "max", "min", "prod", "sum_square", "l1", "l2", "log_sum", "log_sum_exp")
GUARD = 64
POISON = 0xA5


def assert_verified(slot: str, words: Sequence[int], bases: Sequence[np.ndarray | None]) -> None:
    """The verifier takes the words, over the memories that the arrays are parts of."""
    owners: dict[int, int] = {}
    rows = []
    for view in bases:
        owner = view
        while owner is not None and isinstance(owner.base, np.ndarray):
            owner = owner.base
        root = owners.setdefault(id(owner), len(owners))
        if view is None:
            rows.append([root, 0, 0, 64, 0, 0, 0])
            continue
        at = view.ctypes.data - owner.ctypes.data
        rows.append([root, at, at, 64, owner.nbytes, 7, 0])
    none = np.empty((0, 3), np.int64)
    step = slot, np.array(words, np.int64)
    found = _core.check_steps([step], np.array(rows, np.int64).reshape(-1, 7), none, none)
    assert isinstance(found, float), f"{slot}: the verifier says {found[1:]}"


class Buffers:
    """The base table of one call: operands as (base, offset), outputs between guard bytes."""

    def __init__(self) -> None:
        self.bases: list[np.ndarray] = []
        self.guarded: list[tuple[np.ndarray, int]] = []

    def ref(self, view: np.ndarray | None) -> list[int]:
        if view is None:
            return [-1, 0]
        self.bases.append(view)
        return [len(self.bases) - 1, 0]

    def new(self, shape: Sequence[int], dtype: Any, misalign: int = 0) -> np.ndarray:
        """Poisoned output; misalign moves it by so many elements off a 64-byte boundary."""
        dtype = np.dtype(dtype)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        shift = misalign * dtype.itemsize
        raw = _check.unaligned(n_bytes + 2 * GUARD + shift, 0)
        raw[:] = POISON
        self.guarded.append((raw, GUARD + shift))
        out = raw[GUARD + shift : GUARD + shift + n_bytes]
        return out.view(dtype).reshape(shape)

    def call(self, isa: str, slot: str, words: Sequence[int]) -> int:
        assert_verified(slot, words, self.bases)
        status = _check.call(isa, slot, np.array(words, np.int64), self.bases)
        for raw, start in self.guarded:
            edges = np.concatenate([raw[:start], raw[len(raw) - GUARD :]])
            assert np.all(edges == POISON), f"{slot} {isa} wrote outside its output"
        return int(status)


def strides(view: np.ndarray) -> list[int]:
    return [s // view.itemsize for s in view.strides]


def float_word(x: float) -> int:
    return int(np.float64(x).view(np.int64))


def run_map(
    isa: str,
    slot: str,
    ops: Sequence[tuple[str | int, ...]],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[int, Any]],
    misalign: int = 0,
    into: Sequence[np.ndarray] | None = None,
) -> tuple[int, list[np.ndarray]]:
    """Run ops, each (name, dst, a, b, c); outputs are (register, dtype), `into` overrides where they go."""
    buffers = Buffers()
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    words = [len(shape), len(inputs), len(outputs), len(ops), *shape]
    for x in inputs:
        view = np.broadcast_to(x, shape)
        words += [*buffers.ref(x), CODE[x.dtype], *strides(view)]
    results = []
    for i, (reg, dtype) in enumerate(outputs):
        y = into[i] if into else buffers.new(shape, dtype, misalign)
        words += [*buffers.ref(y), CODE[y.dtype], *strides(y), reg]
        results.append(y)
    for name, *args in ops:
        words += [_core.map_codes[name][0], *args, *[0] * (4 - len(args))]
    return buffers.call(isa, slot, words), results


def unary(isa: str, name: str, x: np.ndarray) -> np.ndarray:
    """One f32 function over x."""
    status, (y,) = run_map(isa, "map_f32", [(name, 1, 0)], [x], [(1, np.float32)])
    assert status == 0
    return y


def run_copy(isa: str, dst: np.ndarray, src: np.ndarray, buffers: Buffers) -> None:
    words = [src.itemsize, src.ndim, *buffers.ref(dst), *buffers.ref(src), *dst.shape, *strides(dst), *strides(src)]
    assert buffers.call(isa, "copy", words) == 0


def run_reduce(isa: str, name: str, x: np.ndarray) -> np.ndarray:
    """Reduce the middle axis of x[o, r, i], any strides."""
    buffers = Buffers()
    y = buffers.new((x.shape[0], x.shape[2]), np.float32)
    words = [*buffers.ref(x), *buffers.ref(y), REDUCTIONS.index(name), *x.shape, *strides(x), *strides(y)]
    assert buffers.call(isa, "reduce_f32", words) == 0
    return y


def run_typed(isa: str, slot: str, name: str, x: np.ndarray, dtype: Any = None, last: int = 0) -> np.ndarray:
    """Reduce the middle axis of x[o, r, i], any strides, with a slot of any dtype; `dtype`: of the result."""
    buffers = Buffers()
    y = buffers.new((x.shape[0], x.shape[2]), dtype or x.dtype)
    words = [*buffers.ref(x), *buffers.ref(y), CODE[x.dtype], REDUCTIONS.index(name), last, *x.shape]
    assert buffers.call(isa, slot, [*words, *strides(x), *strides(y)]) == 0
    return y


def run_topk(isa: str, x: np.ndarray, k: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best along the middle axis of x[o, r, i], any strides: values and places."""
    buffers = Buffers()
    shape = (x.shape[0], k, x.shape[2])
    values, places, scratch = (
        buffers.new(shape, x.dtype),
        buffers.new(shape, np.int64),
        buffers.new((16 * k,), np.uint8),
    )
    words = [*buffers.ref(x), *buffers.ref(values), *buffers.ref(places), *buffers.ref(scratch)]
    words += [CODE[x.dtype], least, x.shape[0], x.shape[1], k, x.shape[2], *strides(x)]
    assert buffers.call(isa, "topk", words) == 0
    return values, places


def bits(x: np.ndarray) -> np.ndarray:
    """Bits of a float array with every NaN made alike (payloads are outside the promise)."""
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.uint32)


def assert_same_bits(a: np.ndarray, b: np.ndarray, what: str) -> None:
    differ = np.flatnonzero(bits(a) != bits(b))
    if differ.size:
        i = differ[0]
        raise AssertionError(f"{what}: {differ.size} differ, first at {i}: {a.flat[i]!r} against {b.flat[i]!r}")


def ulp_error(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|y - exact| in ulp of the float32 binade of exact; below 2^-126 in units of 2^-149."""
    _, e = np.frexp(exact)
    return np.abs(y.astype(np.float64) - exact) / np.ldexp(1.0, np.maximum(e - 24, -149))


def stratified(n: int, seed: int = 0) -> np.ndarray:
    """n finite float32, every exponent and sign alike, with the edges."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    edges = np.array([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38], np.float32)
    return np.concatenate([edges, x[np.isfinite(x)]])


def uniform_integers(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Integers over the whole range of their dtype."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
