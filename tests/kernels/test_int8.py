"""Slots with 8-bit weights on every runnable set: bit for bit the contract (kernels/li_kernels.h) written in NumPy."""

import numpy as np
import pytest
import test_matrix as f32
from test_matrix import (
    CELLS,
    FUSED,
    GATES,
    ISAS,
    KIND_IDS,
    KINDS,
    NONE,
    Record,
    aligned,
    guarded,
    guards_stand,
    pad16,
    rand,
    same_bits,
)

from lstm_infer import _check, _core

MODES = ("ROW", "ROW_U8", "ALL_U8")
F = np.float32


# ---- the contract ----


def scale_of(lo, hi):
    """Scale and zero point of a range that 0 is in."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (F(hi) - F(lo)) / F(255)
    if not np.isfinite(scale):
        return F(np.nan), 0
    if scale == 0:
        return F(0), 0
    return scale, int(np.rint(np.clip(-F(lo) / scale, F(0), F(255)))) - 128


def quantise(x, mode, given=(1.0, 0)):
    """Rows [n, K] as (scale [n], zero [n], q [n, K])."""
    x = np.asarray(x, F)
    n, K = x.shape
    scales, zeros, q = np.zeros(n, F), np.zeros(n, np.int64), np.zeros((n, K), np.int64)
    if mode == "ALL_U8":
        given = (
            scale_of(min(x.min(initial=0), F(0)), max(x.max(initial=0), F(0)))
            if np.isfinite(x).all()
            else (F(np.nan), 0)
        )
    for i, row in enumerate(x):
        finite = bool(np.isfinite(row).all())
        if mode == "ROW":
            most = np.abs(row).max(initial=0)
            if not finite:
                scales[i] = np.nan
            elif most >= F(2.0**-120):
                scales[i] = most / F(127)
                q[i] = np.rint(row * (F(127) / most))
            continue
        if mode == "ROW_U8":
            given = scale_of(min(row.min(initial=0), F(0)), max(row.max(initial=0), F(0))) if finite else (F(np.nan), 0)
        scale, zero = given
        if mode == "GIVEN" and np.isnan(row).any():
            scale = F(np.nan)
        scales[i], zeros[i] = scale, zero
        q[i] = zero
        if scale > 0:
            with np.errstate(over="ignore"):
                q[i] = np.rint(np.clip(row / F(scale), F(-128 - zero), F(127 - zero))).astype(np.int64) + zero
    return scales, zeros, q


class Weights:
    """[G, units, K] int8 with scale and zero point per unit."""

    def __init__(self, rng, G, units, K, zeros=False, scale=1.0, extreme=False):
        self.shape = G, units, K
        self.w = rng.integers(-128, 128, self.shape).astype(np.int8)
        if extreme:
            self.w = np.where(rng.random(self.shape) < 0.5, np.int8(-128), np.int8(127))
        self.scale = (rng.random((G, units)) + 0.5).astype(F) * F(scale)
        self.zero = rng.integers(-128, 128, (G, units)).astype(np.int32) if zeros else None

    def packed(self, gates=slice(None)):
        w, scale = np.ascontiguousarray(self.w[gates]), np.ascontiguousarray(self.scale[gates])
        zero = None if self.zero is None else np.ascontiguousarray(self.zero[gates])
        G, units, K = w.shape
        if K == 0:
            return aligned_ints(np.zeros((pad16(units) // 16, 3, G, 16), np.int32))
        return _core.pack_i8(
            w, scale, zero, gates=G, n_units=units, k=K, gate_stride=units * K, unit_stride=K, k_stride=1
        )

    def sums(self, rows):
        """What rows (scale, zero, q) add to the chains: exact sums [G, n, units] and their factors."""
        scale, zero, q = rows
        zeros = 0 if self.zero is None else self.zero[..., None]
        total = np.einsum("nk,guk->gnu", q - zero[:, None], self.w.astype(np.int64) - zeros)
        assert np.abs(total).max(initial=0) < 2**31
        return total.astype(F), scale[None, :, None] * self.scale[:, None, :]


def fma(a, b, c):
    """a * b + c in one rounding: the product is exact in float64, and so nearly always is the sum's rounding to float."""
    a, b, c = np.broadcast_arrays(a, b, c)
    out = np.empty(a.shape, F)
    for at in np.ndindex(a.shape):
        out[at] = _check.fma_chain(a[at].reshape(1), b[at].reshape(1), float(c[at]))
    return out


def chain(acc, weights, rows, slow):
    """acc [G, n, units] and a matrix more."""
    if weights.shape[2] == 0:
        return acc
    total, factor = weights.sums(rows)
    if slow:
        return fma(total, factor, acc)
    return total.astype(np.float64) * factor + acc


def aligned_ints(values):
    out = _check.unaligned(values.nbytes, 0).view(np.int32).reshape(values.shape)
    out[...] = values
    return out


# ---- matmul ----


def matmul(isa, x, w, bias=None, mode="ROW", given=(1.0, 0), act=NONE, y_col=1, k_major=False):
    n, k = x.shape
    m = w.shape[1]
    padded = None if bias is None else aligned(np.concatenate([bias, np.zeros(pad16(m) - m, F)]))
    x, x_strides = (aligned(x.T.copy(), 4), (1, n)) if k_major else (aligned(x, 4), (k, 1))
    whole, y = guarded((n, m) if y_col == 1 else (m, n))
    n_bytes = _core.matmul_i8_scratch(n, k)
    room = _check.unaligned(n_bytes + 64, 0)
    room[:] = 0xA5
    r = (
        Record()
        .ref(x)
        .ref(w.packed())
        .ref(padded)
        .ref(y)
        .ints(n, k, m, *x_strides, *((m, 1) if y_col == 1 else (1, n)))
        .act(act)
    )
    r.ref(room[:n_bytes]).ints(_core.quantize_codes[mode], w.zero is not None).real(given[0]).ints(given[1])
    assert r.call(isa, "matmul_i8") == 0
    assert guards_stand(whole) and np.all(room[n_bytes:] == 0xA5)
    return (y if y_col == 1 else y.T).copy()


@pytest.mark.parametrize("mode", [*MODES, "GIVEN"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 16, 33, 65, 257])
@pytest.mark.parametrize("n,m", [(1, 1), (1, 16), (1, 65), (1, 250), (2, 33), (5, 100), (7, 17), (13, 33), (25, 130)])
def test_matmul(n, m, k, zeros, mode):
    rng = np.random.default_rng(k * 100 + n)
    w, x, bias = Weights(rng, 1, m, k, zeros), rand(rng, n, k), rand(rng, m)
    given = (0.02, -17)
    want = chain(bias[None, None], w, quantise(x, mode, given), n * m < 300)[0] * np.ones((n, 1), F)
    results = {}
    for isa in ISAS:
        y = matmul(isa, x, w, bias, mode, given)
        if want.dtype == F and isa != "scalar":
            np.testing.assert_array_equal(y, want, err_msg=isa)
        np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-5, err_msg=isa)
        for options in ({"y_col": n}, {"k_major": True}):
            np.testing.assert_array_equal(matmul(isa, x, w, bias, mode, given, **options), y, err_msg=isa)
        if mode != "ALL_U8":
            rows = [matmul(isa, x[i : i + 1], w, bias, mode, given) for i in range(n)]
            np.testing.assert_array_equal(np.concatenate(rows), y, err_msg=isa)
        if isa != "scalar":
            results[isa] = [y, matmul(isa, x, w, None, mode, given)]
    same_bits(results)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("zeros", [False, True])
def test_longest_sum(zeros, n):
    """The largest sums that int32 holds: -128 times -128, and 255 times 255, as often as the contract allows."""
    k = 33025 if zeros else 131071
    w = Weights(np.random.default_rng(0), 1, 17, k, scale=0)
    w.w[:] = -128
    w.scale[:] = 1
    w.w[0, ::2] = 127
    w.zero = np.where(w.w[:, :, 0] < 0, 127, -128).astype(np.int32) if zeros else None
    for q, zero in ((-128, 127 if zeros else 0), (127, -128 if zeros else 0)):
        x = np.full((n, k), q - zero, F)
        rows = quantise(x, "GIVEN", (1.0, zero))
        assert np.all(rows[2] == q)
        want = w.sums(rows)[0][0]
        for isa in ISAS:
            np.testing.assert_array_equal(matmul(isa, x, w, None, "GIVEN", (1.0, zero)), want, err_msg=isa)


ODD = {
    "nothing": [0.0, -0.0, 0.0],
    "denormal": [1e-42, -3e-44, 0.0],
    "below the least scale": [2.0**-121, -(2.0**-122), 0.0],
    "least scale": [2.0**-120, -(2.0**-121), 0.0],
    "largest": [3.4028235e38, -1.0, 1e30],
    "both ends": [3.4028235e38, -3.4028235e38, 0.0],
    "positive": [1.0, 0.5, 1e-3],
    "negative": [-1.0, -0.5, -1e-3],
    "halves": [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5],
    "nan": [1.0, np.nan, 2.0],
    "negative nan": [1.0, -np.nan, 2.0],
    "infinity": [1.0, np.inf, 2.0],
    "negative infinity": [1.0, -np.inf, 2.0],
    "nan at the end": [1.0] * 40 + [np.nan],
}


@pytest.mark.parametrize("mode", ["ROW", "ROW_U8", "GIVEN"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_odd_rows(name, zeros, mode):
    """A row that is not finite makes its own outputs NaN and no others; every other row is quantised as the contract says."""
    rng = np.random.default_rng(0)
    x = rand(rng, 5, max(33, len(ODD[name])))
    x[2] = 0
    x[2, : len(ODD[name])] = ODD[name]
    w = Weights(rng, 1, 21, x.shape[1], zeros, scale=0.01)
    rows = quantise(x, mode, (0.02, 5))
    want = chain(np.zeros((1, 1, 21), F), w, rows, True)[0]
    for isa in ISAS:
        got = matmul(isa, x, w, None, mode, (0.02, 5))
        assert not np.isnan(np.delete(got, 2, 0)).any()
        beyond = ("infinity" in name and mode != "GIVEN") or (name == "both ends" and mode == "ROW_U8")
        assert np.isnan(got[2]).all() == ("nan" in name or beyond)
        if isa == "scalar":
            np.testing.assert_allclose(got, want, rtol=1e-6)
        else:
            np.testing.assert_array_equal(got, want, err_msg=isa)


def test_one_scale_for_all_rows():
    rng = np.random.default_rng(3)
    x, w = rand(rng, 130, 20), Weights(rng, 1, 9, 20)
    x[129, 3] = 9.0
    together, alone = matmul(ISAS[0], x, w, mode="ALL_U8"), matmul(ISAS[0], x[:5], w, mode="ALL_U8")
    assert np.abs(together[:5] - alone).max() > 0.1
    x[129, 3] = np.nan
    for isa in ISAS:
        assert np.isnan(matmul(isa, x, w, mode="ALL_U8")).all()


# ---- recurrent layers ----


class Layer(f32.Layer):
    """A layer of 8-bit weights: how it is packed, and one step of it in float64."""

    def __init__(self, kind, I, H, seed=0, *, zeros=False, mode="ROW", **options):
        super().__init__(kind, I, H, seed, **options)
        rng = np.random.default_rng(seed + 1)
        self.w8, self.r8 = (Weights(rng, GATES[kind], H, K, zeros, 0.3 / 128 / K**0.5) for K in (I, H))
        self.mode, self.zeros = mode, zeros

    def call(self, isa, x, h, c=None, *, lens=None, reverse=0, with_y=True):
        T, B = x.shape[:2]
        I, H, G = self.I, self.H, GATES[self.kind]
        bias, peep = self.operands()[3:]
        first = slice(0, 2) if self.kind == "gru" and not self.lbr else slice(None)
        w, r = self.w8.packed(), self.r8.packed(first)
        r_h = self.r8.packed(slice(2, 3)) if first.stop else None
        whole, y = guarded((T, B, H))
        n_bytes = _core.recur_i8_scratch(G, T, B, I, H)
        room = _check.unaligned(n_bytes + 64, 0)
        room[:] = 0xA5
        rec = Record().ref(aligned(x, 4)).ref(w).ref(r).ref(r_h).ref(bias).ref(peep).ref(lens).ref(h).ref(c)
        rec.ref(y if with_y else None).ref(room[:n_bytes])
        words = lambda K, gates: (3 + -(-K // 4)) * gates * 16  # noqa: E731
        rec.ints(T, B, I, H, B * I, I, B * H, H, H, H, words(I, G), words(H, 2 if r_h is not None else G), words(H, 1))
        rec.ints(reverse, self.input_forget, self.lbr).real(self.clip)
        for act in (self.acts + [NONE, NONE])[:3]:
            rec.act(act)
        rec.ints(_core.quantize_codes[self.mode], self.zeros)
        status = rec.call(isa, self.kind + "_i8")
        assert guards_stand(whole) and np.all(room[n_bytes:] == 0xA5)
        return status if status else y

    def step(self, x, h, c):
        """One step of [B, I]: the f32 layer's equations over sums of quantised rows. Returns the outputs h and c."""
        rows_x, rows_h = quantise(x, self.mode), quantise(h, self.mode)
        zero = np.zeros((1, 1, 1))
        zx, zh = chain(zero, self.w8, rows_x, False), chain(zero, self.r8, rows_h, False)
        if self.kind == "gru" and not self.lbr:
            f = [lambda v, a=a: f32.apply(a, np.clip(v, -self.clip, self.clip) if self.clip else v) for a in self.acts]
            b = self.wb.astype(np.float64) + self.rb
            z, reset = (f[0](zx[g] + zh[g] + b[g]) for g in (0, 1))
            mode = "ROW_U8" if self.mode == "ALL_U8" else self.mode
            inner = chain(zero, self.r8, quantise((reset * h).astype(F), mode), False)[2]
            return (1 - z) * f[1](zx[2] + inner + b[2]) + z * h, None
        # the equations of test_matrix, with sums in the place of its products
        B, H, G = len(x), self.H, GATES[self.kind]
        plain = f32.Layer.__new__(f32.Layer)
        plain.__dict__.update(self.__dict__)
        plain.w, plain.r = np.zeros((G, H, G * H * B)), np.zeros((G, H, H))
        out_h, out_c = np.empty((B, H)), np.empty((B, H))
        for i in range(B):  # sums of one row: as a bias of the W side and of the R side
            plain.wb, plain.rb = self.wb + zx[:, i], self.rb + zh[:, i]
            plain.w = np.zeros((G, H, 1))
            _, hi, ci = plain.reference(np.zeros((1, 1, 1)), h[i : i + 1], None if c is None else c[i : i + 1])
            out_h[i] = hi[0]
            if ci is not None:
                out_c[i] = ci[0]
        return out_h, out_c


def run(layer, isa, x, h0, c0, **kw):
    return f32.run(layer, isa, x, h0, c0, **kw)


def close(layer, got, want):
    """Gru with linear_before_reset = 0 rounds a product of its own to 8 bits: an error of an ulp there may become one unit."""
    if layer.kind == "gru" and not layer.lbr:
        return np.mean(np.abs(got - want) < 1e-5) > 0.7 and np.abs(got - want).max() < 0.01
    return np.allclose(got, want, rtol=1e-5, atol=5e-6)


SHAPES = [(1, 1), (3, 15), (1, 16), (5, 17), (7, 33), (33, 40), (16, 64), (65, 130)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("I,H", SHAPES)
@pytest.mark.parametrize("B", [1, 2, 7])
def test_step(kind, options, I, H, B, zeros, mode):
    rng = np.random.default_rng(B)
    layer = Layer(kind, I, H, H, zeros=zeros, mode=mode, **options)
    x, h0, c0 = rand(rng, 1, B, I), rand(rng, B, H), rand(rng, B, H)
    want_h, want_c = layer.step(x[0], h0, c0 if kind == "lstm" else None)
    results = {}
    for isa in ISAS:
        got = run(layer, isa, x, h0, c0)
        np.testing.assert_array_equal(got[0][0], got[1], err_msg=isa)
        assert close(layer, got[1], want_h), isa
        if kind == "lstm":
            assert close(layer, got[2], want_c), isa
        if isa != "scalar":
            results[isa] = got
    same_bits(results)


@pytest.mark.parametrize("mode", ["ROW", "ROW_U8"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("I,H", [(1, 1), (5, 17), (33, 40), (65, 130)])
@pytest.mark.parametrize("T,B", [(5, 1), (3, 3), (9, 5), (2, 14), (2, 60)])
def test_cuts(kind, options, I, H, T, B, zeros, mode):
    """Steps and rows alone give the bits of a whole call."""
    rng = np.random.default_rng(T * 100 + B)
    layer = Layer(kind, I, H, H, zeros=zeros, mode=mode, **options)
    x, h0, c0 = rand(rng, T, B, I), rand(rng, B, H), rand(rng, B, H)
    results = {isa: run(layer, isa, x, h0, c0) for isa in FUSED}
    same_bits(results)
    for isa, got in results.items():
        pieces = [run(layer, isa, x[:1], h0, c0)]
        for t in range(1, T):
            pieces.append(run(layer, isa, x[t : t + 1], *(pieces[-1][1:] + [c0])[:2]))
        same_bits({"whole": got, "steps": [np.concatenate([p[0] for p in pieces])] + pieces[-1][1:]})
        rows = [run(layer, isa, x[:, b : b + 1], h0[b : b + 1], c0[b : b + 1]) for b in range(0, B, 4)]
        for i, b in enumerate(range(0, B, 4)):
            same_bits(
                {
                    "batch": [got[0][:, b], *(v[b] for v in got[1:])],
                    "row": [rows[i][0][:, 0], *(v[0] for v in rows[i][1:])],
                }
            )
        quiet = run(layer, isa, x, h0, c0, with_y=False)
        same_bits({"with y": got[1:], "without": quiet[1:]})


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
def test_scale_of_all(kind, options):
    """ALL_U8: one scale for x of all steps; one for h of each step, of all rows."""
    rng = np.random.default_rng(4)
    layer = Layer(kind, 9, 20, mode="ALL_U8", **options)
    x, h0, c0 = rand(rng, 4, 3, 9), rand(rng, 3, 20), rand(rng, 3, 20)
    x[3, 1, 2] = 7.0
    rows = quantise(x.reshape(12, 9), "ALL_U8")
    results = {}
    for isa in ISAS:
        got = run(layer, isa, x, h0, c0)
        h, c = h0, c0
        for t in range(4):
            step = Layer(kind, 9, 20, mode="ALL_U8", **options)
            with pytest.MonkeyPatch.context() as patch:
                first = [tuple(v[t * 3 : t * 3 + 3] for v in rows)]
                patch.setitem(
                    globals(),
                    "quantise",
                    lambda v, mode, first=first, was=quantise: first.pop() if first else was(v, mode),
                )
                want_h, want_c = step.step(x[t], h, c if kind == "lstm" else None)
            assert close(layer, got[0][t], want_h), (isa, t)
            h, c = got[0][t].copy(), c0 if want_c is None else want_c.astype(F)
        if isa != "scalar":
            results[isa] = got
    same_bits(results)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("reverse", [0, 1])
def test_reverse_and_lens(kind, options, reverse, mode):
    T, B, I, H = 6, 4, 3, 19
    rng = np.random.default_rng(3)
    layer = Layer(kind, I, H, mode=mode, **options)
    x, h0, c0 = rand(rng, T, B, I), rand(rng, B, H), rand(rng, B, H)
    lens = np.array([6, 0, 3, 1], np.int32)
    results, whole = {}, {}
    for isa in ISAS:
        y, h, *c = run(layer, isa, x, h0, c0, lens=lens, reverse=reverse)
        for b in range(B):
            n = int(lens[b])
            assert not np.any(y[n:, b])
            if mode == "ALL_U8" or isa == "scalar":
                continue
            if n == 0:
                same_bits({"lens": [h[b], *(v[b] for v in c)], "as they were": [h0[b], *(c0[b] for _ in c)]})
                continue
            part = x[:n, b : b + 1][::-1] if reverse else x[:n, b : b + 1]
            wy, *state = run(layer, isa, part, h0[b : b + 1], c0[b : b + 1])
            alone = [(wy[::-1] if reverse else wy)[:, 0], *(v[0] for v in state)]
            same_bits({"lens": [y[:n, b], h[b], *(v[b] for v in c)], "alone": alone})
        turned = run(layer, isa, x, h0, c0, reverse=1)
        if isa != "scalar":
            same_bits({"reverse": [turned[0][::-1], turned[1]], "of reversed": run(layer, isa, x[::-1], h0, c0)[:2]})
            results[isa], whole[isa] = [y, h, *c], turned
        else:
            assert np.abs(y - results[FUSED[0]][0]).max() < 0.02 if FUSED else True
    same_bits(results)
    same_bits(whole)


@pytest.mark.parametrize("bad", [-1, 7])
def test_bad_length_writes_nothing(bad):
    layer = Layer("lstm", 2, 5)
    for isa in ISAS:
        h, c = np.ones((2, 5), F), np.ones((2, 5), F)
        assert layer.call(isa, np.zeros((6, 2, 2), F), h, c, lens=np.array([3, bad], np.int32)) == 2
        assert np.all(h == 1) and np.all(c == 1)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("B,H", [(1, 17), (1, 40), (8, 21)])
def test_any_cell(name, B, H):
    kind, options = CELLS[name]
    rng = np.random.default_rng(11)
    layer = Layer(kind, 6, H, **options)
    x, h0, c0 = rand(rng, 3, B, 6), rand(rng, B, H), rand(rng, B, H)
    want_h, want_c = layer.step(x[0], h0, c0 if kind == "lstm" else None)
    results = {}
    for isa in ISAS:
        got = run(layer, isa, x[:1], h0, c0)
        assert close(layer, got[1], want_h), isa
        assert kind != "lstm" or close(layer, got[2], want_c), isa
        if isa != "scalar":
            results[isa] = run(layer, isa, x, h0, c0)
    same_bits(results)


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("T", [1, 3])
def test_nan_stays_with_its_signal(kind, options, T):
    rng = np.random.default_rng(5)
    layer = Layer(kind, 5, 33, **options)
    x, h0, c0 = rand(rng, T, 9, 5), rand(rng, 9, 33), rand(rng, 9, 33)
    for isa in ISAS:
        clean = run(layer, isa, x, h0, c0)
        for value in (np.nan, np.inf):
            odd = x.copy()
            odd[0, 4, 2] = value
            got = run(layer, isa, odd, h0, c0)
            assert np.isnan(got[1][4]).all(), isa
            for a, b in zip(got[1:], clean[1:], strict=True):
                np.testing.assert_array_equal(np.delete(a, 4, 0), np.delete(b, 4, 0), err_msg=isa)


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
def test_long_chunk(kind, options):
    """Longer than one block of projected inputs."""
    rng = np.random.default_rng(8)
    layer = Layer(kind, 4, 300, seed=1, **options)
    x, h0, c0 = rand(rng, 75, 2, 4), rand(rng, 2, 300), rand(rng, 2, 300)
    results = {isa: run(layer, isa, x, h0, c0) for isa in FUSED}
    same_bits(results)
    for isa in FUSED:
        first = run(layer, isa, x[:31], h0, c0)
        second = run(layer, isa, x[31:], *(first[1:] + [c0])[:2])
        same_bits({"whole": results[isa], "two": [np.concatenate([first[0], second[0]])] + second[1:]})
