"""The bridge: plans and packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstm_infer import _check, _core
from lstm_infer.errors import IsaError

ISAS = [name for name, runnable in _core.list_isas() if runnable]
F = 6  # features of a frame


def copy_words(n: int, src: tuple[int, int], dst: tuple[int, int], src_stride: int = 1) -> np.ndarray:
    """Words of copy: n elements of 4 bytes."""
    return np.array([4, 1, *dst, *src, n, 1, src_stride], np.int64)


def delay_plan(isa: str, n: int, features: int = F) -> _core.Plan:
    """y[t] = x[t - 1], the state being the last frame: a recurrence made of copies."""
    steps = [("copy", copy_words(features, (1, 0), (4, 0)))]
    if n > 1:
        steps.append(("copy", copy_words((n - 1) * features, (3, 0), (4, 4 * features))))
    steps.append(("copy", copy_words(features, (3, 4 * (n - 1) * features), (1, 0))))
    return _core.Plan(isa, steps)


def bad_plan(isa: str) -> _core.Plan:
    """Its second step fails: index 9 of an axis of 1 (the arena is all 9)."""
    words = np.array([2, 0, 0, 0, 2, 64, _core.dtypes["int32"], 1, 1, 1, 4], np.int64)
    return _core.Plan(isa, [("copy", copy_words(F, (3, 0), (4, 0))), ("gather", words)])


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((1, n, F)).astype(np.float32)


def delayed(x: np.ndarray) -> np.ndarray:
    """[1, T, F] -> [T, 1, F], one step later."""
    return np.concatenate([np.zeros((1, F), np.float32), x[0, :-1]])[: x.shape[1], None]


def test_tables() -> None:
    names = [name for name, _ in _core.list_isas()]
    assert names[-1] == "scalar"
    assert ISAS[-1] == "scalar"
    assert [code for code, _ in _core.slots.values()] == list(range(len(_core.slots)))
    assert _core.slots["copy"][1] == 0
    assert _core.slots["softmax_f32"] == (_core.slots["softmax_f32"][0], 9)
    assert _core.map_codes["FMA"][1] == 3
    assert _core.dtypes["float32"] == 0
    assert _core.dtypes["bool"] == len(_core.dtypes) - 1
    assert _core.status_codes["OK"] == 0
    assert _core.UNITS == 16


@pytest.mark.parametrize("n_bytes", [0, 1, 63, 64, 5000])
def test_aligned_empty(n_bytes: int) -> None:
    for _ in range(5):
        memory = _core.aligned_empty(n_bytes)
        assert memory.shape == (n_bytes,)
        assert n_bytes == 0 or memory.ctypes.data % 64 == 0
        assert not memory.any()
    with pytest.raises(ValueError, match="n_bytes"):
        _core.aligned_empty(-1)


@pytest.mark.parametrize(("gates", "units", "k"), [(1, 1, 1), (1, 33, 5), (4, 16, 3), (3, 17, 7), (4, 5, 0)])
def test_pack_layout(gates: int, units: int, k: int) -> None:
    w = np.arange(1, gates * units * k + 1, dtype=np.float32).reshape(gates, units, k)
    packed = _core.pack_f32(w, gates=gates, n_units=units, k=k, gate_stride=units * k, unit_stride=k, k_stride=1)
    panels = -(-units // 16)
    want = np.zeros((panels, k, gates, 16), np.float32)
    for u in range(units):
        want[u // 16, :, :, u % 16] = w[:, u].T
    np.testing.assert_array_equal(packed, want.ravel())
    assert packed.size == 0 or packed.ctypes.data % 64 == 0


def test_pack_into_shared_panels() -> None:
    """W and R of one layer behind each other in each panel, as the recurrent slots read them."""
    gates, units, n_in = 4, 20, 3
    rng = np.random.default_rng(1)
    w = rng.standard_normal((gates, units, n_in)).astype(np.float32)
    r = rng.standard_normal((gates, units, units)).astype(np.float32)
    panel = (n_in + units) * gates * 16
    out = _core.aligned_empty(2 * panel * 4).view(np.float32)
    where = {"gates": gates, "n_units": units, "k_stride": 1, "panel": panel, "out": out}
    assert _core.pack_f32(w, k=n_in, gate_stride=units * n_in, unit_stride=n_in, **where) is out
    _core.pack_f32(r, k=units, gate_stride=units**2, unit_stride=units, out_offset=gates * 16 * n_in, **where)
    both = np.concatenate([w, r], axis=2)
    alone = _core.pack_f32(
        both, gates=gates, n_units=units, k=n_in + units, gate_stride=both[0].size, unit_stride=n_in + units, k_stride=1
    )
    np.testing.assert_array_equal(out, alone)


def test_pack_reversed() -> None:
    w = np.arange(6, dtype=np.float32)
    packed = _core.pack_f32(w, gates=1, n_units=1, k=6, gate_stride=0, unit_stride=0, k_stride=-1, src_offset=5)
    np.testing.assert_array_equal(packed[::16], w[::-1])


@pytest.mark.parametrize(
    "change",
    [
        {"k": 4},
        {"src_offset": 1},
        {"src_offset": -1},
        {"unit_stride": -1},
        {"panel": 47},
        {"gates": 0},
        {"n_units": -1},
        {"out": np.zeros(47, np.float32)},
        {"out": np.zeros(48, np.float32), "out_offset": 1},
        {"out": np.zeros((48, 2), np.float32)[:, 0]},
    ],
)
def test_pack_refuses(change: dict[str, Any]) -> None:
    fine = {"gates": 1, "n_units": 2, "k": 3, "gate_stride": 6, "unit_stride": 3, "k_stride": 1}
    with pytest.raises(ValueError, match=r"expected|do not hold"):
        _core.pack_f32(np.zeros(6, np.float32), **{**fine, **change})


def test_pack_refuses_dtype() -> None:
    with pytest.raises(TypeError, match="float32"):
        _core.pack_f32(np.zeros(6), gates=1, n_units=2, k=3, gate_stride=6, unit_stride=3, k_stride=1)


LENDER = {"avx512vnni": "avx512", "neondot": "neon"}
"""Sets of 8-bit products take all other slots from another."""


@pytest.mark.parametrize("isa", ISAS)
def test_plan(isa: str) -> None:
    plan = delay_plan(isa, 3)
    assert plan.isa == isa
    assert plan.slots == ("copy", "copy", "copy")
    assert plan.n_steps == 3
    assert set(plan.symbols) <= {f"li_copy_{isa}", f"li_copy_{LENDER.get(isa)}"}
    x = frames(3)
    y = np.full((3, 1, F), np.nan, np.float32)
    state = np.zeros(F, np.float32)
    plan.run([None, state, None, x, y.ctypes.data])
    np.testing.assert_array_equal(y, delayed(x))
    np.testing.assert_array_equal(state, x[0, -1])
    _core.Plan(isa, []).run([])


def test_plan_keeps_its_own_words() -> None:
    words = copy_words(F, (0, 0), (1, 0))
    plan = _core.Plan("scalar", [("copy", words)])
    words[:] = 1 << 40
    y = np.zeros(F, np.float32)
    plan.run([frames(1), y])
    np.testing.assert_array_equal(y, frames(1).ravel())
    with pytest.raises(AttributeError):
        plan.n_steps = 0  # type: ignore[misc]


def test_plan_refuses() -> None:
    words = copy_words(1, (0, 0), (1, 0))
    with pytest.raises(IsaError, match=r"mmx.*scalar"):
        _core.Plan("mmx", [])
    with pytest.raises(ValueError, match="step 1: slot 'nope'"):
        _core.Plan("scalar", [("copy", words), ("nope", words)])
    with pytest.raises(ValueError, match=r"step 0 \(gather\): 11 words expected, got 9"):
        _core.Plan("scalar", [("gather", words)])
    with pytest.raises(TypeError, match="int64"):
        _core.Plan("scalar", [("copy", words.astype(np.float64))])
    with pytest.raises(TypeError):
        delay_plan("scalar", 1).run(["x"])  # type: ignore[list-item]


def test_unrunnable_isa() -> None:
    missing = [name for name, runnable in _core.list_isas() if not runnable]
    if not missing:
        pytest.skip("this CPU runs every instruction set of the build")
    with pytest.raises(IsaError, match="cannot run"):
        _core.Plan(missing[0], [])
    with pytest.raises(IsaError):
        _check.call(missing[0], "copy", copy_words(1, (0, 0), (1, 0)), [])


@pytest.mark.parametrize("isa", ISAS)
def test_failed_step(isa: str) -> None:
    arena = np.full(64, 9, np.int32)
    x = frames(1)
    with pytest.raises(_core.StepError, match="step 1 failed: INDEX") as caught:
        bad_plan(isa).run([None, None, arena, x, np.zeros_like(x)])
    assert (caught.value.step, caught.value.status) == (1, _core.status_codes["INDEX"])


@pytest.mark.parametrize("isa", ISAS)
def test_check_call(isa: str) -> None:
    y = np.zeros(F, np.float32)
    assert _check.call(isa, "copy", copy_words(F, (0, 0), (1, 0)), [frames(1), y]) == 0
    np.testing.assert_array_equal(y, frames(1).ravel())
    with pytest.raises(KeyError):
        _check.call(isa, "nope", copy_words(F, (0, 0), (1, 0)), [])


def test_fma_chain() -> None:
    """Against exact arithmetic rounded after every term."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 50)).astype(np.float32)
    want = np.longdouble(np.float32(0.25))
    for a, b in zip(x, w, strict=True):  # float32 products are exact in float64; longdouble holds the sum
        want = np.longdouble(np.float32(want + np.longdouble(np.float64(a) * np.float64(b))))
    got = _check.fma_chain(x, w, 0.25)
    assert got.dtype == np.float32
    if np.finfo(np.longdouble).nmant >= 63:
        assert got == np.float32(want)
    assert _check.fma_chain(x[:0], w[:0], 2.0) == 2.0
    tiny = np.array([1 + 2**-12], np.float32)
    assert _check.fma_chain(tiny, tiny, -(1 + 2**-11)) == np.float32(2**-24)  # one rounding: the square is not lost
    with pytest.raises(ValueError, match="lengths"):
        _check.fma_chain(x, w[1:])
