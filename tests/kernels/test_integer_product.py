"""Products of integers against NumPy, which wraps at the same width: every dtype, strides, batch and set."""

from __future__ import annotations

import numpy as np
import pytest
from slotcall import CODE, ISAS, NUMPY, Buffers, strides
from test_typed_reduce import INTEGERS, drawn


def product(isa: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a [..., n, k] times b [..., k, m]; leading axes broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (n, k), m = a.shape[-2:], b.shape[-1]
    a, b = np.broadcast_to(a, (*batch, n, k)), np.broadcast_to(b, (*batch, k, m))
    buffers = Buffers()
    y, scratch = buffers.new((*batch, n, m), a.dtype), buffers.new((8 * k * m,), np.uint8)
    words = [*buffers.ref(a), *buffers.ref(b), *buffers.ref(y), *buffers.ref(scratch), n, k, m]
    words += [*strides(a)[-2:], *strides(b)[-2:], m, len(batch)]
    for sizes in (batch, strides(a)[:-2], strides(b)[:-2], strides(y)[:-2]):
        words += [*sizes, *[0] * (8 - len(batch))]
    assert buffers.call(isa, "matmul_i64", [*words, CODE[a.dtype]]) == 0
    return y


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", INTEGERS)
def test_products_wrap_as_numpy_does(isa: str, name: str) -> None:
    rng = np.random.default_rng(8)
    sizes = [((1, 1), (1, 1)), ((3, 5), (5, 7)), ((2, 130), (130, 65)), ((2, 1, 3, 4), (5, 4, 6)), ((3, 2, 2), (2, 70))]
    for left, right in sizes:
        a, b = drawn(rng, name, left), drawn(rng, name, right)
        with np.errstate(over="ignore"):
            want = np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(NUMPY[name])
        turned = np.array(a.swapaxes(-1, -2)).swapaxes(-1, -2), np.array(b.swapaxes(-1, -2)).swapaxes(-1, -2)
        for x, y in ((a, b), turned, (a, np.array(b[..., ::-1])[..., ::-1])):
            np.testing.assert_array_equal(product(isa, x, y), want, f"{left} {right}")
