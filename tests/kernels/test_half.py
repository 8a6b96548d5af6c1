"""The slots with f16 weights give, bit for bit, what those with f32 weights give on the same rounded weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import test_matrix as f32
from test_matrix import CONVS, FUSED, ISAS, KIND_IDS, KINDS, RELU, Layer, Record, rand, run

from lstm_infer import _check


@contextmanager
def half_weights() -> Iterator[None]:
    """Calls of test_matrix pack their weights as halves, which hold them exactly, and run the slots for those."""
    pack, call = f32.pack, Record.call

    def halved(weights):
        wide = pack(weights)
        out = _check.unaligned(wide.size * 2, 0).view(np.float16).reshape(wide.shape)
        out[...] = wide
        np.testing.assert_array_equal(out, wide)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f32, "pack", halved)
        patch.setattr(f32, "aligned", lambda a, shift=0, was=f32.aligned: a if a.dtype == np.float16 else was(a, shift))
        patch.setattr(Record, "call", lambda self, isa, slot: call(self, isa, slot.replace("_f32", "_f16")))
        yield


def rounded(a, scale=1.0):
    """Every exponent that halves have, among them those of denormals."""
    spread = np.float32(scale) * a * np.exp2(np.linspace(-24, 0, a.size, dtype=np.float32)).reshape(a.shape)
    return spread.astype(np.float16).astype(np.float32)


def same(isa, wide, half):
    """scalar sums in another order in other builds, but in one order whatever it reads."""
    for a, b in zip(wide, half, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=isa)


@pytest.mark.parametrize("k", [0, 1, 16, 65])
@pytest.mark.parametrize("n,m", [(1, 1), (1, 16), (1, 65), (1, 250), (2, 33), (5, 100), (7, 17), (25, 130)])
def test_matmul(k, n, m):
    rng = np.random.default_rng(n)
    x, w, bias = rand(rng, n, k), rounded(rand(rng, k, m)), rand(rng, m)
    for isa in ISAS:
        for options in ({}, {"y_col": n}, {"k_major": True, "act": RELU}):
            wide = f32.matmul(isa, x, w, bias, **options)
            with half_weights():
                same(isa, [wide], [f32.matmul(isa, x, w, bias, **options)])


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("I,H", [(1, 1), (5, 17), (33, 40), (65, 130)])
@pytest.mark.parametrize("T,B", [(1, 1), (1, 7), (5, 1), (3, 3), (2, 60)])
def test_recurrent(kind, options, I, H, T, B):
    rng = np.random.default_rng(T)
    layer = Layer(kind, I, H, peephole=kind == "lstm", **options)
    layer.w, layer.r = rounded(layer.w), rounded(layer.r)
    x, h, c = rand(rng, T, B, I), rand(rng, B, H), rand(rng, B, H)
    for isa in ISAS:
        wide = run(layer, isa, x, h, c)
        with half_weights():
            same(isa, wide, run(layer, isa, x, h, c))


@pytest.mark.parametrize("name", CONVS)
def test_conv(name):
    x_shape, w_shape, groups, stride, dilation, pads = CONVS[name]
    rng = np.random.default_rng(4)
    x, w, bias = rand(rng, *x_shape), rounded(rand(rng, *w_shape)), rand(rng, w_shape[0])
    for isa in ISAS:
        for channels_last in (False, True):
            args = (x, w, bias, groups, stride, dilation, pads)
            wide = f32.conv(isa, *args, channels_last=channels_last)
            with half_weights():
                same(isa, [wide], [f32.conv(isa, *args, channels_last=channels_last)])


@pytest.mark.parametrize("isa", FUSED)
def test_every_half(isa):
    """Each of the 63,488 finite halves, and the infinities, as one weight."""
    w = np.arange(65536, dtype=np.uint16).view(np.float16)
    w = w[~np.isnan(w)].astype(np.float32)[None]
    with half_weights():
        y = f32.matmul(isa, np.ones((1, 1), np.float32), w)
    np.testing.assert_array_equal(y.view(np.uint32), (w + np.float32(0)).view(np.uint32))
