"""gather_nd and scatter_nd against NumPy: any dtype, any strides of data, duplicates in order, nothing outside touched."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from slotcall import CODE, ISAS, Buffers, bits, strides, uniform_integers

from lstm_infer import _core

CODES = _core.scatter_codes
INDEX, RANK = 1, 8
MOVED = [np.uint8, np.uint16, np.float32, np.int64, np.bool_, np.float64, np.float16, ml_dtypes.bfloat16]
COMBINED = [
    np.float32, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.bool_,
]  # fmt: skip
COMBINE: dict[str, Any] = {"ADD": np.add, "MUL": np.multiply, "MIN": np.minimum, "MAX": np.maximum}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Any values; integers over their whole range."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return uniform_integers(rng, shape, dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.normal(size=shape).astype(dtype)


def filled(values: list[int]) -> list[int]:
    return [*values, *[0] * (RANK - len(values))]


def call(
    isa: str, slot: str, values: np.ndarray, data: np.ndarray, index: np.ndarray, axes: list[int],
    code: str = "SET", *, own: list[int] | None = None, from_end: bool = True, buffers: Buffers,
) -> int:  # fmt: skip
    """Indices [entries..., depth] into `axes` of data; `own`: axes of data that the entries' own axes are."""
    size = list(index.shape[:-1])
    step = [strides(data)[a] if a >= 0 else 0 for a in (own or [-1] * len(size))]
    inner = values.size // max(int(np.prod(size)), 1)
    words = [*buffers.ref(values), *buffers.ref(data), *buffers.ref(index), CODE[data.dtype], CODES[code]]
    apart = strides(index)
    words += [CODE[index.dtype], int(from_end), inner, len(size), *filled(size), *filled(step), *filled(apart[:-1])]
    words += [len(axes), apart[-1], *filled([data.shape[a] for a in axes]), *filled([strides(data)[a] for a in axes])]
    return buffers.call(isa, slot, words)


def same(got: np.ndarray, want: np.ndarray) -> None:
    if got.dtype == np.float32:
        np.testing.assert_array_equal(bits(got), bits(want))
    else:
        np.testing.assert_array_equal(got.view(np.uint8), np.ascontiguousarray(want).view(np.uint8))


LAYOUTS: dict[str, Any] = {
    "dense": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "reversed": lambda x: x[::-1, :, ::-1],
    "gaps": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", MOVED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_elements_of_any_layout(isa: str, dtype: Any, layout: str) -> None:
    rng = np.random.default_rng(1)
    data = LAYOUTS[layout](numbers(rng, (5, 6, 7), dtype))
    for axis in range(3):
        for kind in (np.int32, np.int64):
            shape = [4, 5, 6]
            shape[axis] = 9
            index = rng.integers(-data.shape[axis], data.shape[axis], shape).astype(kind)
            buffers = Buffers()
            values = buffers.new(shape, dtype, misalign=1)
            own = [-1 if a == axis else a for a in range(3)]
            assert call(isa, "gather_nd", values, data, index[..., None], [axis], own=own, buffers=buffers) == 0
            cut = data[tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(shape))]
            same(values, np.take_along_axis(cut, index, axis))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_indices_of_any_layout(isa: str, kind: Any) -> None:
    rng = np.random.default_rng(3)
    data, index = numbers(rng, (5, 6, 7), np.float32), rng.integers(-5, 5, (3, 6, 7)).astype(kind)
    pairs = rng.integers(-5, 5, (4, 6, 2)).astype(kind)
    for layout in (
        *LAYOUTS.values(),
        lambda x: np.broadcast_to(x[:, :1], x.shape),
        lambda x: np.broadcast_to(x[:1], x.shape),
    ):
        at, both = layout(index), layout(pairs)
        buffers = Buffers()
        values, blocks = buffers.new((3, 6, 7), np.float32), buffers.new((4, 6, 7), np.float32)
        assert call(isa, "gather_nd", values, data, at[..., None], [0], own=[-1, 1, 2], buffers=buffers) == 0
        same(values, np.take_along_axis(data, at, 0))
        assert call(isa, "gather_nd", blocks, data, both, [0, 1], buffers=buffers) == 0
        same(blocks, data[both[..., 0], both[..., 1]])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", MOVED)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_blocks_out_and_in(isa: str, dtype: Any, depth: int) -> None:
    rng = np.random.default_rng(depth)
    shape = (4, 3, 5)
    data = numbers(rng, shape, dtype)
    for n in (0, 1, 7):
        index = np.stack([rng.integers(-k, k, n) for k in shape[:depth]] or [np.zeros((0, n), int)], -1)
        index = index.reshape(n, depth).astype(np.int64)
        where = tuple(index.T)
        buffers = Buffers()
        values = buffers.new((n, *shape[depth:]), dtype, misalign=1)
        assert call(isa, "gather_nd", values, data, index, list(range(depth)), buffers=buffers) == 0
        same(values, data[where] if depth else np.broadcast_to(data, (n, *shape)))
        target = buffers.new(shape, dtype, misalign=1)
        target[...] = data
        values = numbers(rng, (n, *shape[depth:]), dtype)
        assert call(isa, "scatter_nd", values, target, index, list(range(depth)), buffers=buffers) == 0
        want = data.copy()
        for e in range(n):
            want[tuple(index[e])] = values[e]
        same(target, want)


PLACES = np.random.default_rng(0).integers(-6, 6, 40)


def combined(isa: str, code: str, data: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows of data [6, n] combined with values [40, n], most of them several times."""
    buffers = Buffers()
    target = buffers.new(data.shape, data.dtype, misalign=1)
    target[...] = data
    assert call(isa, "scatter_nd", values, target, PLACES[:, None], [0], code, buffers=buffers) == 0
    return target


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", COMBINED)
@pytest.mark.parametrize("code", COMBINE)
@pytest.mark.parametrize("inner", [1, 3, 16, 33])
def test_combined_in_the_order_of_the_entries(isa: str, dtype: Any, code: str, inner: int) -> None:
    rng = np.random.default_rng(inner)
    data, values = numbers(rng, (6, inner), dtype), numbers(rng, (40, inner), dtype)
    if dtype == np.float32:
        data[0, 0], values[::7, -1], values[3] = np.nan, np.nan, np.inf
    want = data.copy()
    with np.errstate(all="ignore"):
        for e, place in enumerate(PLACES):
            want[place] = COMBINE[code](want[place], values[e])
    same(combined(isa, code, data, values), want)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("slot", ["gather_nd", "scatter_nd"])
@pytest.mark.parametrize("depth", [1, 2])
def test_outside(isa: str, kind: Any, slot: str, depth: int) -> None:
    """The entries before the one that lies outside are done, nothing else is."""
    info = np.iinfo(kind)
    for bad in (5, -6, info.max, info.min):
        for d in range(depth):
            index = np.zeros((3, depth), kind)
            index[0], index[2] = 4, 1
            index[1, d] = bad
            for code in ("SET", "ADD") if slot == "scatter_nd" else ("SET",):
                buffers = Buffers()
                data, values = buffers.new((5, 5), np.int32), buffers.new((3, *(5,) * (2 - depth)), np.int32)
                data[...], values[...] = 7, 100
                assert call(isa, slot, values, data, index, list(range(depth)), code, buffers=buffers) == INDEX
                changed = values[1:] != 100 if slot == "gather_nd" else np.delete(data.reshape(-1), range(20, 25)) != 7
                assert not changed.any()
    index = np.full((1, depth), -1, kind)
    buffers = Buffers()
    data, values = buffers.new((5, 5), np.int32), buffers.new((1, *(5,) * (2 - depth)), np.int32)
    args = (isa, slot, values, data, index, list(range(depth)))
    assert call(*args, from_end=False, buffers=buffers) == INDEX
    assert call(*args, buffers=buffers) == 0
