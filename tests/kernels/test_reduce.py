"""Reductions, softmax and layer normalisation: values against float64, one order of sums whatever the strides."""

from __future__ import annotations

import numpy as np
import pytest
from slotcall import FUSED, ISAS, REDUCTIONS, SIZES, Buffers, assert_same_bits, float_word, run_reduce, strides

F32 = np.float32


def reference(name: str, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        return {
            "sum": lambda: x.sum(1), "mean": lambda: x.mean(1), "max": lambda: x.max(1), "min": lambda: x.min(1),
            "prod": lambda: x.prod(1), "sum_square": lambda: (x * x).sum(1), "l1": lambda: np.abs(x).sum(1),
            "l2": lambda: np.sqrt((x * x).sum(1)), "log_sum": lambda: np.log(x.sum(1)),
            "log_sum_exp": lambda: np.logaddexp.reduce(x, 1),
        }[name]()  # fmt: skip


def twin_sum(x: np.ndarray) -> np.ndarray:
    """The order of li_kernels.h, spelt out: 16 lanes, then the tree."""
    lanes = np.full((x.shape[0], 16, x.shape[2]), -0.0, F32)
    for r in range(x.shape[1]):
        lanes[:, r % 16] += x[:, r]
    for h in (8, 4, 2, 1):
        lanes = lanes[:, :h] + lanes[:, h : 2 * h]
    return lanes[:, 0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce_value(isa: str, name: str) -> None:
    rng = np.random.default_rng(0)
    for n in SIZES:
        for inner in (1, 5, 16, 19):
            x = rng.uniform(0.5, 1.5, (3, n, inner)).astype(F32)
            if name not in ("prod", "log_sum"):
                x -= F32(0.9)
            want = reference(name, x)
            slack = 1e-6 * n if name == "prod" else 1e-6 * np.abs(x).sum(1) + 1e-6
            error = np.abs(run_reduce(isa, name, x) - want)
            assert np.all(error <= slack + 1e-6 * np.abs(want)), f"{isa} {name} n={n} inner={inner}"


@pytest.mark.skipif(not FUSED, reason="this CPU runs no fused set")
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce_bits_do_not_depend_on_strides_or_set(name: str) -> None:
    rng = np.random.default_rng(1)
    for n in SIZES:
        x = rng.normal(size=(2, n, 21)).astype(F32)
        first = run_reduce(FUSED[0], name, x)
        by_row = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
        gaps = np.repeat(np.repeat(x, 2, axis=1), 3, axis=2)[:, ::2, ::3]
        for isa in FUSED:
            for view in (x, by_row, gaps, x[:, :, ::-1][:, :, ::-1]):
                assert_same_bits(run_reduce(isa, name, view), first, f"{name} {isa} {strides(view)}")
            one = np.stack([run_reduce(isa, name, x[:, :, i : i + 1])[:, 0] for i in range(21)], 1)
            assert_same_bits(one, first, f"{name} {isa} column by column")


@pytest.mark.parametrize("isa", FUSED)
@pytest.mark.parametrize("n", SIZES)
def test_sum_has_the_promised_order(isa: str, n: int) -> None:
    x = np.random.default_rng(2).normal(size=(2, n, 18)).astype(F32)
    assert_same_bits(run_reduce(isa, "sum", x), twin_sum(x), f"{isa} n={n}")


@pytest.mark.parametrize("isa", ISAS)
def test_reduce_nan_inf_zero(isa: str) -> None:
    for n in (1, 15, 16, 40):
        x = np.ones((1, n, 3), F32)
        x[0, n // 2, 1] = np.nan
        for name in REDUCTIONS:
            y = run_reduce(isa, name, x)[0]
            assert np.isnan(y[1]), name
            assert np.isfinite(y[[0, 2]]).all(), name
    for sign in (F32(1), F32(-1)):
        x = np.full((1, 20, 2), sign * np.inf, F32)
        for name in ("max", "min", "log_sum_exp"):
            np.testing.assert_array_equal(run_reduce(isa, name, x), sign * np.inf)
    minus_zero = np.full((1, 20, 1), -0.0, F32)
    if isa != "scalar":
        assert np.signbit(run_reduce(isa, "sum", minus_zero)[0, 0])
    empty = np.zeros((2, 0, 3), F32)
    for name, want in (("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf), ("l2", 0), ("log_sum_exp", -np.inf)):
        np.testing.assert_array_equal(run_reduce(isa, name, empty), F32(want))


def softmax(isa: str, x: np.ndarray, log: int, misalign: int = 0) -> np.ndarray:
    buffers = Buffers()
    y = buffers.new(x.shape, F32, misalign)
    words = [*buffers.ref(x), *buffers.ref(y), *x.shape, strides(x)[0], strides(y)[0], log]
    assert buffers.call(isa, "softmax_f32", words) == 0
    return y


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("log", [0, 1])
def test_softmax(isa: str, n: int, log: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 5, (11, n + 2)).astype(F32)[:, 1 : n + 1]  # four rows and four side by side, then one by one
    t = x.astype(np.float64) - x.max(1, keepdims=True)
    want = t - np.log(np.exp(t).sum(1, keepdims=True))
    want = want if log else np.exp(want)
    y = softmax(isa, x, log, misalign=1)
    np.testing.assert_allclose(y, want, rtol=3e-6, atol=1e-6 if log else 1e-12)
    alone = np.concatenate([softmax(isa, x[row : row + 1], log) for row in range(len(x))])
    assert_same_bits(y, alone, "rows one by one")
    if isa in FUSED:
        assert_same_bits(y, softmax(FUSED[0], x, log), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_softmax_of_extremes(isa: str) -> None:
    x = np.array([[3e38, -3e38, 0.0], [-np.inf, 0.0, 0.0], [1e4, 1e4, -1e4]], F32)
    np.testing.assert_array_equal(softmax(isa, x, 0), np.array([[1, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]], F32))
    assert np.isnan(softmax(isa, np.array([[1.0, np.nan, 2.0]], F32), 0)).all()


def layernorm(isa: str, x: np.ndarray, scale: np.ndarray | None, bias: np.ndarray | None) -> list[np.ndarray]:
    buffers = Buffers()
    y, mean, inv_std = buffers.new(x.shape, F32, 1), buffers.new(x.shape[:1], F32), buffers.new(x.shape[:1], F32)
    refs = [w for view in (x, scale, bias, y, mean, inv_std) for w in buffers.ref(view)]
    words = [*refs, *x.shape, strides(x)[0], strides(y)[0], float_word(1e-5)]
    assert buffers.call(isa, "layernorm_f32", words) == 0
    return [y, mean, inv_std]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", SIZES)
def test_layernorm(isa: str, n: int) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(3, 2, (5, n)).astype(F32)
    scale, bias = rng.normal(size=(2, n)).astype(F32)
    exact = x.astype(np.float64)
    mean = exact.mean(1)
    inv_std = 1 / np.sqrt(exact.var(1) + 1e-5)
    want = (exact - mean[:, None]) * inv_std[:, None]
    for s, b in ((scale, bias), (scale, None), (None, bias), (None, None)):
        y, m, i = layernorm(isa, x, s, b)
        np.testing.assert_allclose(y, want * (1 if s is None else s) + (0 if b is None else b), rtol=1e-5, atol=3e-6)
        np.testing.assert_allclose(m, mean, rtol=1e-6)
        np.testing.assert_allclose(i, inv_std, rtol=3e-6)
        if isa in FUSED:
            for mine, first in zip([y, m, i], layernorm(FUSED[0], x, s, b), strict=True):
                assert_same_bits(mine, first, isa)
