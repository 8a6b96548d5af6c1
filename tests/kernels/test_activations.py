"""Functions of map_f32: error bounds in ulp against float64, special values, equal bits on every fused set.

The bounds are those of docs/numerics.md. Here a dense subset, every exponent and the ranges where the functions
bend; the whole of float32 was measured with tools/measure_activations.c.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from slotcall import FUSED, ISAS, assert_same_bits, run_map, stratified, ulp_error, unary

ROOT = Path(__file__).parents[2]
# reads as 0 below here: exp(x) < 2^-126 there
FLUSH = 87.5


def exact_erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x])


CASES = {
    "EXP": (np.exp, 1.1),
    "SIGMOID": (lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))), 2.5),
    "TANH": (np.tanh, 2.0),
    "LOG": (np.log, 0.9),
    "ERF": (exact_erf, 1.2),
    "SIN": (np.sin, 1.6),
    "COS": (np.cos, 1.6),
    "ATAN": (np.arctan, 1.5),
    "SOFTPLUS": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 1.8),
}
FLUSHES = ("SIGMOID", "SOFTPLUS")


def samples(name: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    n = 20_000 if name == "ERF" else 400_000
    x = np.concatenate([stratified(n), rng.uniform(-110, 110, n), rng.normal(0, 2, n), rng.uniform(-1e5, 1e5, n)])
    x = x.astype(np.float32)
    if name == "LOG":
        x = np.abs(x)
    if name in FLUSHES:
        x = x[x > -FLUSH]
    return x


@pytest.mark.parametrize("isa", FUSED)
@pytest.mark.parametrize("name", CASES)
def test_error_bound(isa: str, name: str) -> None:
    function, bound = CASES[name]
    x = samples(name)
    with np.errstate(all="ignore"):
        exact = function(x.astype(np.float64))
        keep = np.isfinite(exact.astype(np.float32)) & (x != 0)
    error = ulp_error(unary(isa, name, x)[keep], exact[keep])
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{isa} {name} at {x[keep][worst]!r}: {error[worst]:.3f} ulp"


@pytest.mark.skipif(not FUSED, reason="this CPU runs no fused set")
@pytest.mark.parametrize("name", CASES)
def test_same_bits_on_every_fused_set(name: str) -> None:
    x = np.concatenate([samples(name), np.array([np.inf, -np.inf, np.nan], np.float32)])
    first, *others = [unary(isa, name, x) for isa in FUSED]
    for isa, y in zip(FUSED[1:], others, strict=True):
        assert_same_bits(y, first, f"{name} {isa} against {FUSED[0]}")


INF, NAN = math.inf, math.nan
SPECIAL = {
    "EXP": [(INF, INF), (-INF, 0.0), (0.0, 1.0), (-0.0, 1.0), (89.0, INF), (-104.0, 0.0), (1e30, INF), (-1e30, 0.0)],
    "SIGMOID": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5), (100.0, 1.0), (-100.0, 0.0)],
    "TANH": [
        (INF, 1.0),
        (-INF, -1.0),
        (0.0, 0.0),
        (-0.0, -0.0),
        (1e-45, 1e-45),
        (-1e-40, -1e-40),
        (50.0, 1.0),
        (-50.0, -1.0),
    ],
    "LOG": [(INF, INF), (0.0, -INF), (-0.0, -INF), (1.0, 0.0), (-1.0, NAN), (-INF, NAN), (-1e-45, NAN)],
    "ERF": [(INF, 1.0), (-INF, -1.0), (0.0, 0.0), (-0.0, -0.0), (5.0, 1.0)],
    "SIN": [(INF, NAN), (-INF, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "COS": [(INF, NAN), (-INF, NAN), (0.0, 1.0)],
    "ATAN": [(0.0, 0.0), (-0.0, -0.0), (INF, math.pi / 2), (-INF, -math.pi / 2)],
    "SOFTPLUS": [(INF, INF), (-INF, 0.0), (1e30, 1e30)],
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(isa: str, name: str) -> None:
    x, want = np.array([*SPECIAL[name], (NAN, NAN)], np.float32).T.copy()
    y = unary(isa, name, x)
    np.testing.assert_array_equal(y, want)
    assert np.array_equal(np.signbit(y[want == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("isa", FUSED)
def test_gradual_underflow_of_exp(isa: str) -> None:
    x = np.linspace(-104, -87, 100_000, dtype=np.float32)
    assert np.max(np.abs(unary(isa, "EXP", x) - np.exp(x.astype(np.float64)))) <= 2.0**-149


def pow_inputs() -> tuple[np.ndarray, np.ndarray]:
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, INF, -INF, NAN, 1e-45, -1e-45, 3e38, -3e38]
    values += [16777215.0, 16777217.0, -16777215.0, 33554432.0, 2.5, 1e-10, -1e-10, 1.0000001, 0.9999999]
    grid = np.array(values, np.float32)
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [np.repeat(grid, grid.size), np.exp(rng.uniform(-80, 80, 100_000)), rng.uniform(0.9, 1.1, 100_000)]
    )
    y = np.concatenate([np.tile(grid, grid.size), rng.uniform(-4, 4, 100_000), rng.uniform(-900, 900, 100_000)])
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("isa", FUSED)
def test_pow(isa: str) -> None:
    x, y = pow_inputs()
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
        want = exact.astype(np.float32)
    status, (z,) = run_map(isa, "map_f32", [("POW", 2, 0, 1)], [x, y], [(2, np.float32)])
    assert status == 0
    plain = np.isfinite(want) & (want != 0)
    np.testing.assert_array_equal(z[~plain], want[~plain])
    assert np.max(ulp_error(z[plain], exact[plain])) <= 0.51
    assert np.array_equal(np.signbit(z[want == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("isa", FUSED)
def test_huge_arguments_of_sine(isa: str) -> None:
    rng = np.random.default_rng(4)
    x = np.ldexp(rng.uniform(1, 2, 50_000), rng.integers(15, 128, 50_000)).astype(np.float32)
    for name, function in (("SIN", np.sin), ("COS", np.cos)):
        exact = function(x.astype(np.float64))
        assert np.max(ulp_error(unary(isa, name, x), exact)) <= 1.6


def test_coefficients_are_what_the_script_writes() -> None:
    pytest.importorskip("mpmath")
    script = ROOT / "tools" / "fit_activations.py"
    written = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert written == (ROOT / "kernels" / "body" / "activations_coef.h").read_text()
