"""Reductions of integers, and the place of an extreme, against NumPy: exact, whatever the dtype, strides and set."""

from __future__ import annotations

import numpy as np
import pytest
from slotcall import ISAS, NUMPY, run_typed

INTEGERS = [name for name in NUMPY if name[0] in "iu" and name != "bool"]
SHAPES = [
    (1, 1, 1),
    (2, 4, 1),
    (1, 31, 1),
    (1, 32, 1),
    (2, 33, 1),
    (3, 1000, 1),
    (1, 5, 3),
    (2, 17, 32),
    (2, 3, 33),
    (1, 2, 70),
]


def drawn(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Few values or all of them, with both ends."""
    dtype = np.dtype(NUMPY[name])
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if name == "f32":
        few = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38], np.float32)
        return rng.choice(few if rng.integers(2) else few[:6], shape)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if rng.integers(2):
        return rng.choice(np.array([low, low + 1, 0, 1, high - 1, high], dtype), shape)
    return rng.integers(low, high, shape, dtype, endpoint=True)


def ways(x: np.ndarray) -> list[np.ndarray]:
    """The same numbers lying otherwise: dense, with gaps, turned round, columns first."""
    wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    wide[::2, ::2, ::2] = x
    turned = np.array(x[:, ::-1, ::-1])[:, ::-1, ::-1]
    return [x, wide[::2, ::2, ::2], turned, np.array(x.transpose(0, 2, 1)).transpose(0, 2, 1)]


def place(x: np.ndarray, largest: bool, last: int) -> np.ndarray:
    find = np.argmax if largest else np.argmin
    return x.shape[1] - 1 - find(x[:, ::-1], 1) if last else find(x, 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "bool", *INTEGERS])
def test_place_of_an_extreme(isa: str, name: str) -> None:
    rng = np.random.default_rng(3)
    for shape in SHAPES:
        for x in ways(drawn(rng, name, shape)):
            for last in (0, 1):
                for code in ("max", "min"):
                    got = run_typed(isa, "arg_reduce", code, x, np.int64, last)
                    np.testing.assert_array_equal(got, place(x, code == "max", last), f"{shape} {code} {last}")


def whole(name: str, x: np.ndarray) -> np.ndarray:
    """The reduction in Python's integers, wrapped at the width of the type at the end."""
    rows = x.astype(object)
    made = {
        "sum": lambda: rows.sum(1), "max": lambda: rows.max(1), "min": lambda: rows.min(1), "prod": lambda: rows.prod(1),
        "sum_square": lambda: (rows * rows).sum(1), "l1": lambda: abs(rows).sum(1),
    }[name]()  # fmt: skip
    return np.array([int(v) % 2**64 for v in made.ravel()], np.uint64).reshape(made.shape).astype(x.dtype)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_reduced_exactly(isa: str, name: str) -> None:
    rng = np.random.default_rng(4)
    for shape in SHAPES:
        given = drawn(rng, name, shape)
        for code in ("sum", "max", "min", "prod", "sum_square", "l1"):
            want = whole(code, given)
            for x in ways(given):
                np.testing.assert_array_equal(run_typed(isa, "reduce_i64", code, x), want, f"{shape} {code}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", INTEGERS)
def test_means_and_norms_go_toward_zero(isa: str, name: str) -> None:
    rng = np.random.default_rng(5)
    dtype = np.dtype(NUMPY[name])
    for shape in SHAPES:
        given = rng.integers(0 if dtype.kind == "u" else -100, 100, shape).astype(dtype)
        total = given.astype(np.int64).sum(1)
        mean = np.sign(total) * (np.abs(total) // shape[1])
        norm = np.sqrt((given.astype(np.float64) ** 2).sum(1)).astype(np.int64).astype(dtype)
        for x in ways(given):
            np.testing.assert_array_equal(run_typed(isa, "reduce_i64", "mean", x), mean.astype(dtype))
            np.testing.assert_array_equal(run_typed(isa, "reduce_i64", "l2", x), norm)
    top = np.full((1, 3, 1), np.iinfo(dtype).max, dtype)
    if dtype.itemsize == 8:
        top = top // dtype.type(2)
        assert run_typed(isa, "reduce_i64", "mean", top[:, :2])[0, 0] == top[0, 0, 0]
    else:
        assert run_typed(isa, "reduce_i64", "mean", top)[0, 0] == top[0, 0, 0]


@pytest.mark.parametrize("isa", ISAS)
def test_booleans_have_an_or_and_an_and(isa: str) -> None:
    x = np.array([[[1, 1, 0, 0], [1, 0, 1, 0]]], bool)
    np.testing.assert_array_equal(run_typed(isa, "reduce_i64", "max", x), [[True, True, True, False]])
    np.testing.assert_array_equal(run_typed(isa, "reduce_i64", "min", x), [[True, False, False, False]])
