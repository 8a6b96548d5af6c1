"""copy and gather move bits: any strides, every element size, nothing outside the output touched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from slotcall import ISAS, SIZES, Buffers, run_copy

UNSIGNED = [np.uint8, np.uint16, np.uint32, np.uint64]


def numbers(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


SOURCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dense": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "swapped": lambda x: np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
    "reversed": lambda x: x[::-1, ..., ::-1],
    "gaps": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "one column": lambda x: np.broadcast_to(x[..., :1], x.shape),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("layout", SOURCES)
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (17, 33), (64, 48), (2, 3, 4), (5, 16, 7), (2, 1, 3, 1, 5), (9, 300)]
)
def test_copy(isa: str, dtype: type, layout: str, shape: tuple[int, ...]) -> None:
    src = SOURCES[layout](numbers(shape, dtype))
    buffers = Buffers()
    dst = buffers.new(shape, dtype, misalign=1)
    run_copy(isa, dst, src, buffers)
    np.testing.assert_array_equal(dst, src)


@pytest.mark.parametrize("isa", ISAS)
def test_copy_into_strided_output_leaves_the_gaps(isa: str) -> None:
    src = numbers((6, 10), np.uint32)
    buffers = Buffers()
    whole = buffers.new((6, 25), np.uint32)
    before = whole.copy()
    run_copy(isa, whole[:, 3:13], src, buffers)
    np.testing.assert_array_equal(whole[:, 3:13], src)
    np.testing.assert_array_equal(whole[:, :3], before[:, :3])
    np.testing.assert_array_equal(whole[:, 13:], before[:, 13:])
    run_copy(isa, whole[::-1, 1:21:2], src, buffers)
    np.testing.assert_array_equal(whole[::-1, 1:21:2], src)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", SIZES)
def test_copy_of_a_dense_run(isa: str, n: int) -> None:
    for dtype in UNSIGNED:
        src = numbers((n + 1,), dtype)[1:]
        buffers = Buffers()
        dst = buffers.new((n,), dtype, misalign=3)
        run_copy(isa, dst, src, buffers)
        np.testing.assert_array_equal(dst, src)


@pytest.mark.parametrize("isa", ISAS)
def test_copy_of_nothing(isa: str) -> None:
    buffers = Buffers()
    run_copy(isa, buffers.new((3, 0), np.float32), np.empty((3, 0), np.float32), buffers)


def gather(isa: str, src: np.ndarray, index: np.ndarray) -> tuple[int, np.ndarray]:
    buffers = Buffers()
    n_outer, axis, inner = src.shape
    dst = buffers.new((n_outer, index.size, inner), src.dtype, misalign=1)
    words = [*buffers.ref(dst), *buffers.ref(src), *buffers.ref(index), 10 if index.dtype == np.int64 else 8]
    return buffers.call(isa, "gather", [*words, n_outer, axis, index.size, inner * src.itemsize]), dst


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("inner", [1, 3, 16, 17, 100])
def test_gather(isa: str, dtype: type, inner: int) -> None:
    src = numbers((3, 9, inner), dtype)
    for index in (np.array([0, 8, -9, -1, 4, 4], np.int64), np.array([-3, 2], np.int32), np.array([], np.int64)):
        status, y = gather(isa, src, index)
        assert status == 0
        np.testing.assert_array_equal(y, np.take(src, index, axis=1))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("index", [9, -10, 2**62, -(2**63)])
def test_gather_outside(isa: str, index: int) -> None:
    assert gather(isa, numbers((2, 9, 4), np.uint32), np.array([1, index], np.int64))[0] == 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_reverse_turns_the_first_rows_of_each_entry(isa: str, dtype: type) -> None:
    rng = np.random.default_rng(4)
    for T, B, inner in ((1, 1, 1), (5, 3, 1), (7, 2, 40), (4, 6, 100)):
        x = rng.integers(0, 100, (T, B, inner)).astype(dtype)
        lens = rng.integers(0, T + 1, B)
        want = x.copy()
        for b, n in enumerate(lens):
            want[:n, b] = x[:n, b][::-1]
        for src in (x, np.array(x.transpose(1, 0, 2)).transpose(1, 0, 2)):
            buffers = Buffers()
            y = buffers.new((T, B, inner), dtype)
            words = [*buffers.ref(y), *buffers.ref(src), *buffers.ref(lens), T, B, inner * x.itemsize]
            words += [*y.strides[:2], *src.strides[:2]]
            assert buffers.call(isa, "reverse", words) == 0
            np.testing.assert_array_equal(y, want)
            for wrong in (-1, T + 1):
                before = y.copy()
                buffers.bases[2] = np.array([*lens[:-1], wrong])
                assert buffers.call(isa, "reverse", words) == 2
                np.testing.assert_array_equal(y, before)
            buffers.bases[2] = lens
