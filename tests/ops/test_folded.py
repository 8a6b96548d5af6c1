"""Tables of waves: right against float64, in a quarter of the multiply-adds, the same bits however they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from run import ISAS, expected, model, through_plan

from lstm_infer.ops.folded import fold

FUSED = [isa for isa in ISAS if isa != "scalar"]


def waves(n: int, window: Any, *, in_turns: bool = False) -> Any:
    """The basis of a Fourier transform, real rows then imaginary rows, or in turns: [2 (n / 2 + 1), n]."""
    spectrum = np.fft.fft(np.eye(n))[: n // 2 + 1]
    parts = [spectrum.real, spectrum.imag]
    table = np.stack(parts, 1).reshape(-1, n) if in_turns else np.concatenate(parts)
    return np.asarray(table * window, np.float32)


def hann(n: int) -> Any:
    """Periodic, as transforms take it; even about its middle in every bit."""
    half = np.hanning(n + 1)[: n // 2 + 1]
    return np.concatenate([half, half[1:-1][::-1]])


def convolved(table: Any, x: Any, stride: int, pads: tuple[int, int]) -> Any:
    """In float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pads))[:, 0]
    n = table.shape[1]
    starts = range(0, padded.shape[1] - n + 1, stride)
    return np.stack([padded[:, at : at + n] @ table.T.astype(np.float64) for at in starts], -1)


TABLES = {
    "hann": waves(256, hann(256)),
    "in turns": waves(128, hann(128), in_turns=True),
    "no window": waves(64, 1.0),
    "real rows": waves(128, hann(128))[:65],
    "imaginary rows": waves(128, hann(128))[65:],
    "even about half": np.concatenate([a := np.random.default_rng(3).standard_normal((40, 32)), a[:, ::-1]], 1).astype("f"),
    "one term too many": np.concatenate([a, np.ones((40, 1)), a[:, ::-1]], 1).astype("f"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("batch", "pads"), [(1, (0, 0)), (3, (5, 9))])
def test_right(name: str, batch: int, pads: tuple[int, int]) -> None:
    table = TABLES[name]
    assert fold(table) is not None
    stride = table.shape[1] // 2
    x = np.random.default_rng(1).standard_normal((batch, 1, 4 * stride + 3)).astype(np.float32)
    made = model("Conv", [x, table[:, None]], {"strides": [stride], "pads": list(pads)}, opset=17, consts={1})
    want, ort = convolved(table, x, stride, pads), expected(made, {"x0": x})[0]
    found = {}
    for isa in ISAS:
        outs, slots = through_plan(made, {"x0": x}, isa)
        assert "conv_f32" not in slots
        assert outs[0].shape == want.shape
        assert np.abs(outs[0] - want).max() <= 2 * np.abs(ort - want).max()
        found[isa] = outs[0]
    for isa in FUSED:
        np.testing.assert_array_equal(found[isa], found[FUSED[0]])
    for row in range(batch):
        alone = model("Conv", [x[:1], table[:, None]], {"strides": [stride], "pads": list(pads)}, opset=17, consts={1})
        got = through_plan(alone, {"x0": np.ascontiguousarray(x[row : row + 1])}, FUSED[0] if FUSED else "scalar")[0][0]
        np.testing.assert_array_equal(got[0], found[FUSED[0] if FUSED else "scalar"][row])


@pytest.mark.parametrize(("channels", "groups", "filters", "taps"), [(40, 40, 40, 41), (2, 2, 64, 40), (3, 3, 99, 64)])
def test_filters_over_several_channels_are_no_table(channels: int, groups: int, filters: int, taps: int) -> None:
    """Symmetric filters, each of a channel of its own: weights [M, 1, k] are those of one channel only where x has one."""
    rng = np.random.default_rng(5)
    half = rng.standard_normal((filters, (taps + 1) // 2)).astype(np.float32)
    w = np.concatenate([half, half[:, ::-1][:, taps % 2 :]], 1)[:, None]
    assert w.shape[2] == taps
    assert fold(w[:, 0]) is not None
    x = rng.standard_normal((2, channels, taps + 20)).astype(np.float32)
    made = model("Conv", [x, w], {"group": groups}, opset=17, consts={1})
    want = expected(made, {"x0": x})[0]
    for isa in ISAS:
        np.testing.assert_allclose(through_plan(made, {"x0": x}, isa)[0][0], want, rtol=1e-4, atol=1e-4)


def test_a_quarter_is_left() -> None:
    """Of 258 x 256 weights those of four products of about 65 x 64."""
    f = fold(TABLES["hann"])
    assert f is not None
    assert [half.kept for half in f.halves] == [1, 0]
    left = 0
    for half in f.halves:
        rows, terms = f.weights(TABLES["hann"], half).shape
        left += (rows - rows // 2) * len(range(half.kept, terms, 2)) + rows // 2 * len(range(1 - half.kept, terms, 2))
    assert left < 258 * 256 / 3.9


@pytest.mark.parametrize("name", ["hann", "in turns", "even about half"])
def test_one_bit_of_one_weight_is_none(name: str) -> None:
    """Near is not alike: weights are never changed to make them fold."""
    table = TABLES[name].copy()
    table[3, 5] = np.nextafter(table[3, 5], np.float32(9))
    assert fold(table) is None
    rng = np.random.default_rng(0)
    assert fold(rng.standard_normal((64, 64)).astype(np.float32)) is None
    assert fold(TABLES[name][:8]) is None
    assert fold(TABLES[name][:, :8]) is None


@pytest.mark.parametrize(("size", "kernel", "stride", "pads", "dilation"), [
    (1, 3, 1, (1, 1), 1), (2, 3, 2, (1, 1), 1), (1, 5, 1, (2, 2), 1), (3, 5, 1, (4, 0), 1), (2, 7, 3, (6, 0), 1),
    (2, 3, 1, (4, 4), 3), (1, 2, 1, (1, 0), 1), (1, 2, 1, (0, 1), 1), (3, 1, 4, (0, 0), 1), (1, 3, 9, (9, 9), 1),
])  # fmt: skip
@pytest.mark.parametrize("groups", [1, 2])
def test_terms_that_see_padding_alone(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, groups: int
) -> None:
    """Left out, whatever is left: few positions beside wide kernels, strides and pads."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 6, size)).astype(np.float32)
    w, bias = (
        rng.standard_normal((10, 6 // groups, kernel)).astype(np.float32),
        rng.standard_normal(10).astype(np.float32),
    )
    attrs = {"strides": [stride], "pads": list(pads), "dilations": [dilation], "group": groups}
    made = model("Conv", [x, w, bias], attrs, opset=17, consts={1, 2})
    want = expected(made, {"x0": x})[0]
    for isa in ISAS:
        got = through_plan(made, {"x0": x}, isa)[0][0]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
