"""pool_f32: windows over rows and columns, in the order of li_kernels.h, whatever the set, the strides and the padding."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from slotcall import ISAS, REDUCTIONS, Buffers, assert_same_bits, strides

from lstm_infer import _core

F32 = np.float32
SHAPES = [
    # rows, cols, kernel, stride, dilation, pad
    (1, 40, (1, 2), (1, 2), (1, 1), (0, 0)),
    (1, 37, (1, 3), (1, 1), (1, 1), (0, 1)),
    (8, 33, (2, 2), (2, 2), (1, 1), (0, 0)),
    (9, 35, (3, 3), (2, 2), (1, 1), (1, 1)),
    (7, 64, (3, 3), (1, 1), (1, 1), (1, 1)),
    (10, 50, (3, 3), (3, 3), (1, 1), (1, 2)),
    (12, 70, (4, 5), (2, 4), (1, 1), (3, 4)),
    (11, 41, (2, 3), (1, 2), (3, 2), (2, 3)),
    (11, 90, (3, 4), (5, 7), (2, 5), (4, 15)),
    (5, 17, (5, 17), (1, 1), (1, 1), (4, 16)),
    (3, 24, (2, 24), (1, 1), (4, 1), (4, 20)),  # some windows see rows of padding alone
]


def counts(size: int, kernel: int, stride: int, dilation: int, pad: int, end: int) -> int:
    """Windows along an axis with so much padding on both sides."""
    return (size + pad + end - (kernel - 1) * dilation - 1) // stride + 1


def reference(code: str, x: np.ndarray, out: tuple[int, int], kernel, stride, dilation, pad) -> np.ndarray:
    """Each window's columns from top to bottom, then these from left to right, each step rounded to float32."""
    outside = F32(0 if code == "sum" else -np.inf)

    def place(i: int, j: int, r: int, k: int) -> np.ndarray:
        row, col = i * stride[0] - pad[0] + r * dilation[0], j * stride[1] - pad[1] + k * dilation[1]
        inside = 0 <= row < x.shape[2] and 0 <= col < x.shape[3]
        return x[:, :, row, col] if inside else np.full(x.shape[:2], outside)

    def join(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b if code == "sum" else np.where(np.isnan(a) | (a > b), a, b)

    y = np.empty((*x.shape[:2], *out), F32)
    for i, j in product(*map(range, out)):
        columns = []
        for k in range(kernel[1]):
            column = place(i, j, 0, k)
            for r in range(1, kernel[0]):
                column = join(column, place(i, j, r, k))
            columns.append(column)
        whole = columns[0]
        for column in columns[1:]:
            whole = join(whole, column)
        y[:, :, i, j] = whole
    return y


def run_pool(isa: str, code: str, x: np.ndarray, out: tuple[int, int], kernel, stride, dilation, pad) -> np.ndarray:
    buffers = Buffers()
    y = buffers.new((*x.shape[:2], *out), F32)
    scratch = buffers.new((_core.pool_scratch(out[1], kernel[1], stride[1], dilation[1]),), np.uint8)
    words = [*buffers.ref(x), *buffers.ref(y), *buffers.ref(scratch), REDUCTIONS.index(code), *x.shape, *out]
    words += [*kernel, *stride, *dilation, *pad, *strides(x)[:3], *strides(y)[:3]]
    assert buffers.call(isa, "pool_f32", words) == 0
    return y


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("code", ["max", "sum"])
@pytest.mark.parametrize("rows, cols, kernel, stride, dilation, pad", SHAPES)
def test_pool(code: str, rows: int, cols: int, kernel, stride, dilation, pad) -> None:
    rng = np.random.default_rng(rows * cols)
    out = tuple(
        counts(*sizes, end) for *sizes, end in zip((rows, cols), kernel, stride, dilation, pad, pad, strict=True)
    )
    cut = (max(out[0] - 1, 1), max(out[1] - 3, 1))  # fewer windows than there is room for
    whole = rng.normal(size=(2, 3, rows + 2, cols + 3)).astype(F32)
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf], F32)
    spread = np.where(rng.random(whole.shape) < 0.1, rng.choice(odd, whole.shape), whole)
    for x in (whole[:, :, 1:-1, 2:-1], spread[:, :, 1:-1, 2:-1], spread.swapaxes(0, 1)[:, 1:, 1:-1, 2:-1]):
        for n in (out, cut):
            want = reference(code, x, n, kernel, stride, dilation, pad)
            for isa in ISAS:
                assert_same_bits(
                    run_pool(isa, code, x, n, kernel, stride, dilation, pad), want, f"{isa} {code} {x.shape}"
                )
