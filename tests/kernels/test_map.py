"""map_f32 and map_i64 against numpy: every instruction, dtype, layout and ragged size."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slotcall import DTYPES, FUSED, ISAS, NUMPY, SIZES, assert_same_bits, run_map, stratified

from lstm_infer import _core
from lstm_infer.program.calls import MapCall, can_fail

F32 = np.float32
HURT = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, -3e38, 7, -7], F32)


def operands(n: int, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        x = rng.normal(0, 3, n).astype(F32)
        hit = rng.random(n) < 0.3
        x[hit] = rng.choice(HURT, int(hit.sum()))
        out.append(x)
    return out


def nan_or(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.nan, function(a, b))


def select(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.where(a != 0, b, c)


EXACT: dict[str, Callable[..., Any]] = {
    "MOVE": lambda a: a, "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide,
    "NEG": np.negative, "ABS": np.abs, "SIGN": np.sign, "MIN": nan_or(np.minimum), "MAX": nan_or(np.maximum),
    "FMOD": np.fmod, "SQRT": np.sqrt, "RECIPROCAL": lambda a: F32(1) / a, "ROUND": np.rint, "FLOOR": np.floor,
    "CEIL": np.ceil, "TRUNC": np.trunc, "EQ": np.equal, "LT": np.less, "LE": np.less_equal,
    "NOT": lambda a: a == 0, "AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor, "SELECT": select,
    "ISNAN": np.isnan, "ISINF": np.isinf,
}  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", EXACT)
def test_exact_instruction(isa: str, name: str) -> None:
    n_args = _core.map_codes[name][1]
    for n in SIZES:
        inputs = operands(n, n_args, n)
        op = (name, n_args, *range(n_args))
        status, (y,) = run_map(isa, "map_f32", [op], inputs, [(n_args, F32)], misalign=n % 3)
        with np.errstate(all="ignore"):
            want = np.asarray(EXACT[name](*inputs)).astype(F32)
        assert status == 0
        np.testing.assert_array_equal(y, want, err_msg=f"{isa} {name} n={n}")


@pytest.mark.parametrize("isa", ISAS)
def test_fma_rounds_once(isa: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1000)).astype(F32)
    c = -(a * b)
    _, (y,) = run_map(isa, "map_f32", [("FMA", 3, 0, 1, 2)], [a, b, c], [(3, F32)])
    np.testing.assert_array_equal(y, (a.astype(np.float64) * b + c).astype(F32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("spread", [1.0, 1e10, 1e35])
def test_float_modulo(isa: str, spread: float) -> None:
    rng = np.random.default_rng(5)
    a = (rng.normal(size=2000) * spread).astype(F32)
    b = rng.normal(size=2000).astype(F32)
    a[:3] = np.finfo(F32).max * np.array([1, -1, 1], F32)  # the largest number is one like others
    _, (y,) = run_map(isa, "map_f32", [("FMOD", 2, 0, 1)], [a, b], [(2, F32)])
    np.testing.assert_array_equal(y, np.fmod(a, b))
    _, (y,) = run_map(isa, "map_f32", [("MOD", 2, 0, 1)], [a, b], [(2, F32)])
    want = np.fmod(a, b)
    np.testing.assert_array_equal(y, np.where((want != 0) & ((want < 0) != (b < 0)), want + b, want))


def test_fused_sets_agree_on_every_instruction() -> None:
    rng = np.random.default_rng(6)
    x = stratified(20_000)
    inputs = [x, rng.permutation(x), rng.permutation(x)]
    for name, (_, n_args) in _core.map_codes.items():
        if name in ("BITAND", "BITOR", "BITXOR", "BITNOT", "SHL", "SHR", "UDIV", "UMOD"):
            continue
        op = (name, 3, *range(n_args))
        results = [run_map(isa, "map_f32", [op], inputs, [(3, F32)])[1][0] for isa in FUSED]
        for y in results[1:]:
            assert_same_bits(y, results[0], name)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dense": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "row": lambda x: x[..., :1, :],
    "column": lambda x: x[..., :1],
    "one": lambda x: x[:1, ..., :1] if x.ndim < 3 else x[:1, :1, :1],
    "outer": lambda x: x[:1],
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5, 3), (40, 16), (100, 3), (2, 300), (3, 1, 17), (4, 5, 6), (3, 2, 300), (7, 1)])
@pytest.mark.parametrize("left", LAYOUTS)
def test_layouts_and_broadcasting(isa: str, shape: tuple[int, ...], left: str) -> None:
    rng = np.random.default_rng(7)
    for right in LAYOUTS:
        a = LAYOUTS[left](rng.normal(size=shape).astype(F32))
        b = LAYOUTS[right](rng.normal(size=shape).astype(F32))
        full = rng.normal(size=shape).astype(F32)
        ops = [("MUL", 3, 0, 1), ("ADD", 4, 3, 2)]
        status, (y,) = run_map(isa, "map_f32", ops, [a, b, full], [(4, F32)])
        assert status == 0
        np.testing.assert_array_equal(y, a * b + full, err_msg=f"{left} {right}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("slot", ["map_f32", "map_i64"])
def test_empty_scalar_and_rank_8(isa: str, slot: str) -> None:
    dtype = F32 if slot == "map_f32" else np.int64
    for shape in [(0,), (3, 0, 2), (), (1, 1), (2, 1, 2, 1, 2, 1, 2, 3)]:
        x = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        status, (y,) = run_map(isa, slot, [("ADD", 1, 0, 0)], [x], [(1, dtype)])
        assert status == 0
        np.testing.assert_array_equal(y, x + x)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 16, 100, 300, 512])
def test_registers_are_reused(isa: str, n: int) -> None:
    """dst equal to a source, an input's register and a scalar's register overwritten, several outputs."""
    rng = np.random.default_rng(8)
    x, s = rng.normal(size=n).astype(F32), np.array([3.0], F32)
    ops = [("ADD", 1, 0, 1), ("MUL", 0, 0, 1), ("NEG", 0, 0), ("SUB", 2, 0, 1)]
    _, (a, b, c) = run_map(isa, "map_f32", ops, [x, s], [(0, F32), (1, F32), (2, F32)])
    second = x + F32(3)
    np.testing.assert_array_equal(b, second)
    np.testing.assert_array_equal(a, -(x * second))
    np.testing.assert_array_equal(c, a - second)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [5, 16, 256, 300])
def test_output_over_input(isa: str, n: int) -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=n).astype(F32)
    y = x.copy()
    run_map(isa, "map_f32", [("MUL", 1, 0, 0), ("ADD", 1, 1, 0)], [y], [(1, F32)], into=[y])
    np.testing.assert_array_equal(y, x * x + x)
    y, z = x.copy(), np.empty_like(x)  # the second output is the input itself, whose memory the first one takes
    run_map(isa, "map_f32", [("NEG", 1, 0)], [y], [(1, F32), (0, F32)], into=[y, z])
    np.testing.assert_array_equal(y, -x)
    np.testing.assert_array_equal(z, x)


FLOATS = ("f32", "f64", "f16", "bf16")
LIMITS = {"i8": 8, "u8": 8, "i16": 16, "u16": 16, "i32": 32, "u32": 32, "i64": 64, "u64": 64}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", DTYPES)
def test_f32_from_and_to_every_dtype(isa: str, name: str) -> None:
    rng = np.random.default_rng(10)
    dtype = NUMPY[name]
    raw = np.frombuffer(rng.bytes(700 * np.dtype(dtype).itemsize), dtype if name != "bool" else np.uint8)
    x = (raw & 1).astype(bool) if name == "bool" else raw.copy()
    with np.errstate(all="ignore"):
        want = x.astype(F32)
    _, (y,) = run_map(isa, "map_f32", [], [x], [(0, F32)])
    np.testing.assert_array_equal(y, want)
    back = np.concatenate([want, HURT, rng.normal(0, 300, 500).astype(F32), stratified(500)])
    _, (z,) = run_map(isa, "map_f32", [], [back], [(0, dtype)], misalign=1)
    want = saturated(back, name)
    if name == "bf16":  # whose NaN numpy does not take for one
        z, want = z.astype(F32), want.astype(F32)
    np.testing.assert_array_equal(z, want)


def saturated(x: np.ndarray, name: str) -> np.ndarray:
    """Toward zero and stopped at the ends of the range; NaN gives 0."""
    if name == "bool":
        return x != 0
    with np.errstate(all="ignore"):
        if name in FLOATS:
            return x.astype(NUMPY[name])
        low, high = np.iinfo(NUMPY[name]).min, np.iinfo(NUMPY[name]).max
        whole = [0 if np.isnan(v) else low if v < low else high if v > high else int(v) for v in x.astype(float)]
        return np.array([min(max(v, low), high) for v in whole], NUMPY[name])


@pytest.mark.parametrize("isa", ISAS)
def test_every_half_goes_there_and_back(isa: str) -> None:
    h = np.arange(65536, dtype=np.uint16)
    for dtype in (np.float16, NUMPY["bf16"]):
        x = h.view(dtype)
        _, (y,) = run_map(isa, "map_f32", [], [x], [(0, dtype)])
        nan = np.isnan(x.astype(F32))
        np.testing.assert_array_equal(y.view(np.uint16)[~nan], h[~nan])
        assert np.all(np.isnan(y[nan].astype(F32)))
    ties = stratified(200_000, 3) * F32(1e-30)
    around = np.concatenate([ties, np.linspace(-70000, 70000, 100_001).astype(F32), np.ldexp(F32(1), range(-30, 20))])
    for dtype in (np.float16, NUMPY["bf16"]):
        with np.errstate(all="ignore"):
            want = around.astype(dtype)
        _, (y,) = run_map(isa, "map_f32", [], [around.astype(F32)], [(0, dtype)])
        np.testing.assert_array_equal(y.view(np.uint16), want.view(np.uint16))


EDGE = np.array([0, 1, -1, 2, -2, 7, -7, 63, 64, 2**31, -(2**31), 2**63 - 1, -(2**63), 10**12], np.int64)


def wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def toward_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def power(a: int, b: int) -> int:
    if b < 0:
        return {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
    return pow(a % 2**64, b, 2**64)


INTEGER: dict[str, Callable[..., int]] = {
    "MOVE": lambda a: a, "ADD": lambda a, b: a + b, "SUB": lambda a, b: a - b, "MUL": lambda a, b: a * b,
    "DIV": toward_zero, "FMA": lambda a, b, c: a * b + c, "NEG": lambda a: -a, "ABS": abs,
    "SIGN": lambda a: (a > 0) - (a < 0), "MIN": min, "MAX": max, "MOD": lambda a, b: a % b,
    "FMOD": lambda a, b: a - b * toward_zero(a, b), "POW": power, "EQ": lambda a, b: a == b,
    "LT": lambda a, b: a < b, "LE": lambda a, b: a <= b, "NOT": lambda a: a == 0,
    "AND": lambda a, b: a != 0 and b != 0, "OR": lambda a, b: a != 0 or b != 0,
    "XOR": lambda a, b: (a != 0) != (b != 0), "SELECT": lambda a, b, c: b if a else c,
    "UDIV": lambda a, b: a % 2**64 // (b % 2**64), "UMOD": lambda a, b: a % 2**64 % (b % 2**64),
    "BITAND": lambda a, b: a & b, "BITOR": lambda a, b: a | b, "BITXOR": lambda a, b: a ^ b, "BITNOT": lambda a: ~a,
    "SHL": lambda a, b: a << b if 0 <= b < 64 else 0, "SHR": lambda a, b: a % 2**64 >> b if 0 <= b < 64 else 0,
}  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", INTEGER)
def test_integer_instruction(isa: str, name: str) -> None:
    n_args = _core.map_codes[name][1]
    a, b = (x.ravel() for x in np.meshgrid(EDGE, EDGE))
    c = np.roll(a, 5)
    if name in ("DIV", "MOD", "FMOD", "UDIV", "UMOD"):
        b = np.where(b == 0, 3, b)
    if name == "POW":
        a = np.where((a == 0) & (b < 0), 1, a)
    args = [a, b, c][:n_args]
    status, (y,) = run_map(isa, "map_i64", [(name, 3, *range(n_args))], args, [(3, np.int64)])
    assert status == 0
    want = [wrap(int(INTEGER[name](*map(int, v)))) for v in zip(*args, strict=True)]
    np.testing.assert_array_equal(y, want, err_msg=f"{isa} {name}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["DIV", "MOD", "FMOD", "UDIV", "UMOD"])
def test_integer_division_by_zero(isa: str, name: str) -> None:
    a, b = np.arange(400), np.ones(400, np.int64)
    b[333] = 0
    assert run_map(isa, "map_i64", [(name, 2, 0, 1)], [a, b], [(2, np.int64)])[0] == 3


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", DTYPES)
def test_i64_from_and_to_every_dtype(isa: str, name: str) -> None:
    rng = np.random.default_rng(11)
    big = np.concatenate([EDGE, rng.integers(-(2**63), 2**63 - 1, 300), rng.integers(-300, 300, 300)])
    dtype = NUMPY[name]
    _, (y,) = run_map(isa, "map_i64", [], [big], [(0, dtype)])
    with np.errstate(all="ignore"):
        want = big.astype(F32).astype(dtype) if name in ("f16", "bf16") else big.astype(dtype)
    np.testing.assert_array_equal(y, want)
    if name not in FLOATS:
        _, (z,) = run_map(isa, "map_i64", [], [y.copy()], [(0, np.int64)])
        np.testing.assert_array_equal(z, want.astype(np.int64))
    else:
        with np.errstate(all="ignore"):
            x = np.concatenate([HURT, rng.normal(0, 300, 100)]).astype(dtype)
        _, (z,) = run_map(isa, "map_i64", [], [x], [(0, np.int64)])
        np.testing.assert_array_equal(z, saturated(x, "i64"))


@pytest.mark.parametrize("isa", ISAS)
def test_what_can_fail_is_marked(isa: str) -> None:
    """Of integers, whatever they are: an instruction that refuses some is one for which a stream keeps its state aside."""
    text = (Path(__file__).parents[2] / "kernels" / "li_map.def").read_text()
    names = re.findall(r"^LI_MAP\((\w+), \d\)\s*/\* [iI]\b", text, re.M)
    assert len(names) > 20
    some = np.array([-(1 << 63), -2, -1, 0, 1, 2, (1 << 63) - 1])
    for name in names:
        n_args = _core.map_codes[name][1]
        inputs = [part.ravel().copy() for part in np.meshgrid(*[some] * n_args)]
        status, _ = run_map(isa, "map_i64", [(name, n_args, *range(n_args))], inputs, [(n_args, np.int64)])
        marked = can_fail(MapCall(True, [], [(name, *range(n_args))], [], ""))
        assert (status != 0) == marked, name
