"""random against Philox 4x32-10 as its paper has it, choose against NumPy's sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from slotcall import CODE, FUSED, ISAS, Buffers, assert_same_bits

M = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
W = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)


def philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Blocks of four words, [..., 4] uint64 of 32 bits each. Source: Salmon et al. 2011, section 3.3."""
    c = [np.array(counter[..., i], np.uint64) for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = M[0] * c[0], M[1] * c[2]
        c = [
            (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            b & LOW,
            (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            a & LOW,
        ]
        k = [(n + w) & 0xFFFFFFFF for n, w in zip(k, W, strict=True)]
    return np.stack(c, -1)


KNOWN = [  # kat_vectors of Random123, the library of the paper: "philox4x32 10"
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "want"), KNOWN)
def test_the_reference_gives_the_known_answers(counter: str, key: str, want: str) -> None:
    low, high = words(key)
    assert philox(np.array(words(counter), np.uint64), low | high << 32).tolist() == words(want)


def run_random(isa: str, state: np.ndarray, n_steps: int, n: int, key: int = 0, advance: int = 0) -> np.ndarray:
    buffers = Buffers()
    y = buffers.new((n_steps, len(state), n), np.float32, misalign=1)
    signed = key - 2**64 if key >> 63 else key
    args = [*buffers.ref(y), *buffers.ref(state), signed, n_steps, len(state), n, advance]
    assert buffers.call(isa, "random", args) == 0
    return y


def reference(state: np.ndarray, n_steps: int, n: int, key: int) -> np.ndarray:
    y = np.empty((n_steps, len(state), n), np.float32)
    for t in range(n_steps):
        for b, (own, count) in enumerate(state.view(np.uint64).tolist()):
            step = (count + t) % 2**64
            blocks = np.arange(-(-n // 4), dtype=np.uint64)
            counter = np.stack(
                [blocks, 0 * blocks, 0 * blocks + np.uint64(step % 2**32), 0 * blocks + np.uint64(step >> 32)], -1
            )
            drawn = philox(counter, own ^ key).reshape(-1)[:n]
            y[t, b] = (drawn >> np.uint64(8)).astype(np.float64) / 2**24
    return y


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 4, 63, 64, 65, 200])
def test_drawn_by_counter(isa: str, n: int) -> None:
    rng = np.random.default_rng(n)
    state = rng.integers(-(2**63), 2**63, (3, 2))
    state[0, 1], state[1, 1] = 0, -2  # the count wraps on the way
    key = int(rng.integers(0, 2**63)) * 2 + 1
    before = state.copy()
    y = run_random(isa, state, 5, n, key, 5)
    np.testing.assert_array_equal(y, reference(before, 5, n, key))
    assert y.min() >= 0
    assert y.max() < 1
    np.testing.assert_array_equal(state[:, 0], before[:, 0])
    np.testing.assert_array_equal(state[:, 1], before[:, 1] + 5)


@pytest.mark.parametrize("isa", ISAS)
def test_pieces_of_steps_and_of_signals_are_the_whole(isa: str) -> None:
    first = np.array([[7, 0], [8, 3], [9, 1]])
    whole = run_random(isa, first.copy(), 12, 33, 5)
    state = first.copy()
    parts = [run_random(isa, state, steps, 33, 5, steps) for steps in (1, 4, 0, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    for b in range(3):
        np.testing.assert_array_equal(run_random(isa, first[b : b + 1].copy(), 12, 33, 5)[:, 0], whole[:, b])


def run_choose(isa: str, p: np.ndarray, u: np.ndarray, dtype: Any) -> np.ndarray:
    buffers = Buffers()
    y = buffers.new(u.shape, dtype, misalign=1)
    args = [*buffers.ref(p), *buffers.ref(u), *buffers.ref(y), CODE[np.dtype(dtype)], len(p), p.shape[1], u.shape[1]]
    assert buffers.call(isa, "choose", args) == 0
    return y


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("n", [1, 2, 17, 1000])
def test_choose(isa: str, dtype: Any, n: int) -> None:
    rng = np.random.default_rng(n)
    p, u = rng.exponential(size=(4, n)).astype(np.float32), rng.random((4, 50), np.float32)
    p[:, ::3] *= n == 1  # some are never chosen
    u[:, 0], u[:, 1] = 0, np.float32(1 - 2**-24)
    sums = np.cumsum(p.astype(np.float64), 1)
    want = np.stack([np.searchsorted(c, x * c[-1], "right") for c, x in zip(sums, u.astype(np.float64), strict=True)])
    y = run_choose(isa, p, u, dtype)
    np.testing.assert_array_equal(y, np.minimum(want, n - 1))
    assert (np.take_along_axis(p, y.astype(np.int64), 1) > 0).all() or n == 1
    p[1] = np.nan
    np.testing.assert_array_equal(run_choose(isa, p, u, dtype)[1], n - 1)


def test_same_bits() -> None:
    for isa in FUSED[1:]:
        state = np.array([[1, 2], [3, 4]])
        a, b = (run_random(name, state.copy(), 3, 77) for name in (isa, FUSED[0]))
        assert_same_bits(a, b, isa)
