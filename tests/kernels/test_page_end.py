"""No kernel reads behind an operand: each ends where the memory of the process does, and a byte more is the end of the process."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import sys
from collections.abc import Callable

import numpy as np
import pytest
from slotcall import ISAS, NUMPY, REDUCTIONS, Buffers, run_map, run_reduce, run_topk, run_typed, strides
from test_reduce import layernorm, softmax

from forked import in_a_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect as Linux has it")
PROT_NONE = 0
WIDTHS = [1, 2, 5, 7, 8, 9, 15, 17, 24, 33]


def at_the_end(x: np.ndarray) -> np.ndarray:
    """A copy, C order, whose last byte is the last of a page; the page behind it cannot be read."""
    room = -(-x.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, room + mmap.PAGESIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    at = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert libc.mprotect(ctypes.c_void_p(at + room), ctypes.c_size_t(mmap.PAGESIZE), PROT_NONE) == 0
    out = np.frombuffer(pages, x.dtype, x.size, room - x.nbytes).reshape(x.shape)
    out[...] = x
    return out


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def same(call: Callable[[np.ndarray], list[np.ndarray]], x: np.ndarray) -> None:
    """What a call makes of x where it ends with the memory is what it makes of it elsewhere."""
    for got, want in zip(call(at_the_end(x)), call(x), strict=True):
        assert got.tobytes() == want.tobytes(), x.shape


def reductions(isa: str) -> None:
    for n in WIDTHS:
        for name in REDUCTIONS:
            for shape in [(1, n, 1), (2, 3, n), (2, n, 5)]:
                same(lambda x, name=name: [run_reduce(isa, name, x)], floats(*shape))
        same(lambda x: [run_reduce(isa, "sum", x.swapaxes(1, 2))], floats(1, 3, n))


def rows(isa: str) -> None:
    for n in WIDTHS:
        for count in (1, 4, 6):
            for log in (0, 1):
                same(lambda x, log=log: [softmax(isa, x, log)], floats(count, n))
            same(lambda x: layernorm(isa, x, None, None), floats(count, n))
        same(lambda x, n=n: layernorm(isa, floats(2, n), x, None), floats(n))
        same(lambda x, n=n: layernorm(isa, floats(2, n), floats(n), x), floats(n))


def places(isa: str) -> None:
    for n in WIDTHS:
        for dtype in ("f32", "i8", "i64"):
            for shape in [(1, n, 1), (1, 3, n)]:
                x = (8 * floats(*shape)).astype(NUMPY[dtype])
                same(lambda x: [run_typed(isa, "arg_reduce", "max", x, np.int64)], x)
                same(lambda x: list(run_topk(isa, x, 1, 0)), x)


def elementwise(isa: str) -> None:
    ops: list[tuple[str | int, ...]] = [("ADD", 2, 0, 1)]
    for n in WIDTHS:
        for shape in [(n,), (3, n), (2, 3, n)]:
            other = floats(*shape)
            for dtype in NUMPY.values():
                x = (8 * floats(*shape)).astype(dtype)
                same(lambda x, o=other: run_map(isa, "map_f32", ops, [x, o], [(2, np.float32)])[1], x)


def products(isa: str) -> None:
    for m in WIDTHS:
        for n in (1, 3, 12):
            for turned in (False, True):

                def product(b: np.ndarray, n: int = n, m: int = m, turned: bool = turned) -> list[np.ndarray]:
                    a, buffers = floats(n, 7), Buffers()
                    y = buffers.new((n, m), np.float32)
                    packed = buffers.new((7 * ((m + 15) // 16) * 16,), np.float32)
                    b_k, b_col = strides(b.T if turned else b)
                    refs = [word for view in (a, b, y, packed) for word in buffers.ref(view)]
                    words = [*refs, n, 7, m, 7, 1, b_k, b_col, m, 0, *[0] * 8, *[0] * 24]
                    assert buffers.call(isa, "matmul_dyn_f32", words) == 0
                    return [y]

                same(product, floats(m, 7) if turned else floats(7, m))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("calls", [reductions, rows, places, elementwise, products])
def test_nothing_is_read_behind(isa: str, calls: Callable[[str], None]) -> None:
    def run() -> bytes:
        calls(isa)
        return b"right"

    assert in_a_child(run, seconds=300) == b"right", "a crash, or another result"


def test_a_byte_more_is_seen() -> None:
    def run() -> bytes:
        faulthandler.disable()
        ctypes.string_at(at_the_end(np.zeros(5, np.uint8)).ctypes.data, 6)
        return b"read"

    assert in_a_child(run) == b""
