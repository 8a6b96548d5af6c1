"""matmul, recurrent layers and convolution: every slot on every runnable instruction set against float64 numpy,
bit for bit among the fused sets, and however a call is cut."""

import struct

import numpy as np
import pytest
import slotcall

from lstm_infer import _check, _core
from lstm_infer._core import list_isas

UNITS = 16
ACTS = [
    "none",
    "sigmoid",
    "tanh",
    "relu",
    "affine",
    "leaky_relu",
    "thresholded_relu",
    "scaled_tanh",
    "hard_sigmoid",
    "elu",
    "softsign",
    "softplus",
]
ISAS = [name for name, runnable in list_isas() if runnable]
FUSED = [name for name in ISAS if name != "scalar"]
GUARD = np.float32(12345.0)
EPS = 2.0**-24


# ---- records: every field one word (li_kernels.h) ----


class Record:
    """Words of an argument record and the bases they name."""

    def __init__(self):
        self.words = []
        self.bases = []

    def ref(self, array):
        if array is None:
            self.words += [-1, 0]
        else:
            self.words += [len(self.bases), 0]
            self.bases.append(array)
        return self

    def ints(self, *values):
        self.words += [int(v) for v in values]
        return self

    def real(self, value):
        self.words += struct.unpack("<q", struct.pack("<d", value))
        return self

    def act(self, act):
        name, alpha, beta = act
        return self.ints(ACTS.index(name)).real(alpha).real(beta)

    def call(self, isa, slot):
        slotcall.assert_verified(slot, self.words, self.bases)
        return _check.call(isa, slot, np.array(self.words, np.int64), self.bases)


def aligned(values, shift=0):
    values = np.ascontiguousarray(values, np.float32)
    out = _check.unaligned(values.nbytes, shift).view(np.float32).reshape(values.shape)
    out[...] = values
    return out


def guarded(shape, fill=GUARD):
    """An output with guard floats on both sides."""
    size = int(np.prod(shape))
    whole = np.full(size + 64, fill, np.float32)
    return whole, whole[32 : 32 + size].reshape(shape)


def guards_stand(whole):
    return np.all(whole[:32] == GUARD) and np.all(whole[-32:] == GUARD)


def scratch(n_floats):
    return aligned(np.full(n_floats, np.nan, np.float32))


def pad16(n):
    return -(-n // UNITS) * UNITS


def pack(weights):
    """[G, units, K] to [panels, K, G, 16] (li_pack.h)."""
    G, units, K = weights.shape
    full = np.zeros((G, pad16(units), K), np.float32)
    full[:, :units] = weights
    return aligned(full.reshape(G, pad16(units) // UNITS, UNITS, K).transpose(1, 3, 0, 2))


def rand(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def apply(act, x):
    name, a, b = act
    with np.errstate(over="ignore"):
        return {
            "none": lambda: x,
            "sigmoid": lambda: 1 / (1 + np.exp(-x)),
            "tanh": lambda: np.tanh(x),
            "relu": lambda: np.maximum(x, 0),
            "affine": lambda: a * x + b,
            "leaky_relu": lambda: np.where(x < 0, a * x, x),
            "thresholded_relu": lambda: np.where(x >= a, x, 0),
            "scaled_tanh": lambda: a * np.tanh(b * x),
            "hard_sigmoid": lambda: np.clip(a * x + b, 0, 1),
            "elu": lambda: np.where(x < 0, a * np.expm1(x), x),
            "softsign": lambda: x / (1 + np.abs(x)),
            "softplus": lambda: np.logaddexp(0, x),
        }[name]()


NONE, SIGMOID, TANH, RELU = ("none", 0, 0), ("sigmoid", 0, 0), ("tanh", 0, 0), ("relu", 0, 0)


def same_bits(results):
    """All fused sets agree bit for bit. There is none on an old CPU."""
    first = next(iter(results), None)
    for isa, arrays in results.items():
        for a, b in zip(results[first], arrays, strict=True):
            if not np.array_equal(a.view(np.int32), b.view(np.int32)):
                at = np.argwhere(a.view(np.int32) != b.view(np.int32))[0]
                pytest.fail(f"{first} and {isa} differ first at {tuple(at)}: {a[tuple(at)]!r} {b[tuple(at)]!r}")


# ---- matmul ----


def matmul(isa, x, w, bias=None, act=NONE, y_col=1, k_major=False):
    n, k = x.shape
    m = w.shape[1]
    packed = pack(w.T[None])
    padded = None if bias is None else aligned(np.concatenate([bias, np.zeros(pad16(m) - m, np.float32)]))
    if k_major:
        x = aligned(x.T.copy(), 4)
        x_row, x_k = 1, n
    else:
        x = aligned(x, 4)
        x_row, x_k = k, 1
    if y_col == 1:
        whole, y = guarded((n, m))
        strides = (m, 1)
    else:
        whole, y = guarded((m, n))
        strides = (1, n)
    r = Record().ref(x).ref(packed).ref(padded).ref(y).ints(n, k, m, x_row, x_k, *strides).act(act)
    assert r.call(isa, "matmul_f32") == 0
    assert guards_stand(whole)
    return (y if y_col == 1 else y.T).copy()


PRODUCTS = [
    *((1, m) for m in (1, 15, 16, 17, 33, 128, 250)),
    *((2, 17), (3, 64), (4, 65), (5, 100), (6, 16), (7, 80), (13, 33), (25, 130), (64, 64)),
]


@pytest.mark.parametrize("k", [0, 1, 3, 16, 33, 257])
@pytest.mark.parametrize("n,m", PRODUCTS)
def test_matmul(k, n, m):
    rng = np.random.default_rng(k * 1000 + n * 10 + m)
    x, w, bias = rand(rng, n, k), rand(rng, k, m), rand(rng, m)
    want = x.astype(np.float64) @ w + bias
    bound = (k + 2) * EPS * (np.abs(x).astype(np.float64) @ np.abs(w) + np.abs(bias)) + 1e-30
    results = {}
    for isa in ISAS:
        y = matmul(isa, x, w, bias)
        assert np.all(np.abs(y - want) <= bound), isa
        variants = [matmul(isa, x, w, bias, y_col=2), matmul(isa, x, w, bias, k_major=True)]
        variants.append(np.concatenate([matmul(isa, x[i : i + 1], w, bias) for i in range(n)]))
        for v in variants:
            np.testing.assert_array_equal(v, y, err_msg=isa)
        if isa != "scalar":
            results[isa] = [y, matmul(isa, x, w)]
    same_bits(results)


@pytest.mark.parametrize("act", [(a, 0.3, 0.6) for a in ACTS], ids=ACTS)
def test_matmul_activation(act):
    rng = np.random.default_rng(5)
    x, w, bias = rand(rng, 9, 20), rand(rng, 20, 37), rand(rng, 37)
    want = apply(act, x.astype(np.float64) @ w + bias)
    results = {}
    for isa in ISAS:
        y = matmul(isa, x, w, bias, act)
        np.testing.assert_allclose(y, want, rtol=2e-5, atol=2e-5, err_msg=isa)
        np.testing.assert_array_equal(matmul(isa, x, w, bias, act, y_col=2), y, err_msg=isa)
        if isa != "scalar":
            results[isa] = [y]
    same_bits(results)


@pytest.mark.skipif(not hasattr(_check, "fma_chain"), reason="_check has no fma_chain")
def test_matmul_is_one_chain():
    rng = np.random.default_rng(6)
    x, w, bias = rand(rng, 7, 65), rand(rng, 65, 35), rand(rng, 35)
    want = np.array(
        [
            [
                _check.fma_chain(np.ascontiguousarray(x[i]), np.ascontiguousarray(w[:, j]), float(bias[j]))
                for j in range(35)
            ]
            for i in range(7)
        ],
        np.float32,
    )
    for isa in FUSED:
        np.testing.assert_array_equal(matmul(isa, x, w, bias), want, err_msg=isa)


@pytest.mark.parametrize(
    "n,k,m", [(1, 5, 3), (1, 64, 32), (1, 40, 37), (5, 17, 40), (12, 30, 16), (20, 64, 50), (3, 0, 4)]
)
@pytest.mark.parametrize("b_transposed", [False, True])
def test_matmul_dyn(n, k, m, b_transposed):
    rng = np.random.default_rng(n + k + m)
    a = aligned(rand(rng, 2, 3, n, k), 4)
    b = rand(rng, 3, k, m)
    want = a.astype(np.float64) @ b
    bound = (k + 2) * EPS * (np.abs(a).astype(np.float64) @ np.abs(b)) + 1e-30
    stored = aligned(b.transpose(0, 2, 1).copy() if b_transposed else b, 4)
    b_k, b_col = (1, k) if b_transposed else (m, 1)
    results = {}
    for isa in ISAS:
        whole, y = guarded((2, 3, n, m))
        r = Record().ref(a).ref(stored).ref(y).ref(scratch(max(1, k * pad16(m))))
        r.ints(n, k, m, k, 1, b_k, b_col, m, 2, 2, 3, 0, 0, 0, 0, 0, 0)
        r.ints(3 * n * k, n * k, 0, 0, 0, 0, 0, 0, 0, k * m, 0, 0, 0, 0, 0, 0, 3 * n * m, n * m, 0, 0, 0, 0, 0, 0)
        assert r.call(isa, "matmul_dyn_f32") == 0
        assert guards_stand(whole) and np.all(np.abs(y - want) <= bound), isa
        if isa != "scalar":
            results[isa] = [y.copy()]
    same_bits(results)


# ---- recurrent layers ----

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Layer:
    """One direction of one layer: ONNX weights, packed as the contract asks, and the equations in float64."""

    def __init__(self, kind, I, H, seed=0, *, lbr=1, peephole=False, acts=None, clip=0.0, input_forget=0, scale=0.3):
        rng = np.random.default_rng(seed)
        G = GATES[kind]
        self.kind, self.I, self.H, self.lbr, self.clip, self.input_forget = kind, I, H, lbr, clip, input_forget
        self.w, self.r = rand(rng, G, H, I) * np.float32(scale), rand(rng, G, H, H) * np.float32(scale)
        self.wb, self.rb = rand(rng, G, H), rand(rng, G, H)
        self.peephole = rand(rng, 3, H) if peephole else None
        self.acts = acts or {"lstm": [SIGMOID, TANH, TANH], "gru": [SIGMOID, TANH], "rnn": [TANH]}[kind]

    def operands(self):
        H, P = self.H, pad16(self.H) // UNITS
        both = self.wb + self.rb
        rows = (
            both
            if self.kind != "gru"
            else np.stack(
                [both[0], both[1], self.wb[2] if self.lbr else both[2], self.rb[2] if self.lbr else 0 * both[2]]
            )
        )
        bias = np.zeros((len(rows), P * UNITS), np.float32)
        bias[:, :H] = rows
        bias = aligned(bias.reshape(-1, P, UNITS).transpose(1, 0, 2))
        peep = None
        if self.peephole is not None:
            peep = np.zeros((3, P * UNITS), np.float32)
            peep[:, :H] = self.peephole
            peep = aligned(peep)
        if self.kind == "gru" and not self.lbr:
            return pack(self.w), pack(self.r[:2]), pack(self.r[2:]), bias, peep
        return pack(self.w), pack(self.r), None, bias, peep

    def call(self, isa, x, h, c=None, *, lens=None, reverse=0, with_y=True):
        """x [T, B, I]; h, c [B, H] are updated. Returns y."""
        T, B = x.shape[:2]
        I, H, G = self.I, self.H, GATES[self.kind]
        w, r, r_h, bias, peep = self.operands()
        whole, y = guarded((T, B, H))
        panel_r = H * UNITS * (2 if r_h is not None else G)
        rec = Record().ref(w).ref(r).ref(r_h).ref(bias).ref(peep).ref(lens).ref(h).ref(c)
        head = Record().ref(aligned(x, 4))
        rec.bases = head.bases + rec.bases
        rec.words = head.words + [v + 1 if i % 2 == 0 and v >= 0 else v for i, v in enumerate(rec.words)]
        rec.ref(y if with_y else None).ref(scratch(T * B * G * pad16(H) + 400000 + 6 * B * pad16(H)))
        rec.ints(T, B, I, H, B * I, I, B * H, H, H, H, I * G * UNITS, panel_r, H * UNITS)
        rec.ints(reverse, self.input_forget, self.lbr)
        rec.real(self.clip)
        for act in (self.acts + [NONE, NONE])[:3]:
            rec.act(act)
        status = rec.call(isa, self.kind + "_f32")
        assert guards_stand(whole)
        return status if status else y

    def reference(self, x, h, c=None):
        """One row after the other would do; all at once in float64. Returns y, h, c."""
        f = [lambda v, a=a: apply(a, np.clip(v, -self.clip, self.clip) if self.clip else v) for a in self.acts]
        x, h = x.astype(np.float64), h.astype(np.float64)
        c = None if c is None else c.astype(np.float64)
        w, r, b = self.w.astype(np.float64), self.r.astype(np.float64), self.wb.astype(np.float64) + self.rb
        y = []
        for xt in x:
            zx = [xt @ g.T for g in w]
            zh = [h @ g.T for g in r]
            if self.kind == "lstm":
                p = self.peephole if self.peephole is not None else np.zeros((3, self.H))
                i = f[0](zx[0] + zh[0] + b[0] + p[0] * c)
                fg = 1 - i if self.input_forget else f[0](zx[2] + zh[2] + b[2] + p[2] * c)
                c = fg * c + i * f[1](zx[3] + zh[3] + b[3])
                o = f[0](zx[1] + zh[1] + b[1] + p[1] * c)
                h = o * apply(self.acts[2], c)
            elif self.kind == "gru":
                z, rt = f[0](zx[0] + zh[0] + b[0]), f[0](zx[1] + zh[1] + b[1])
                inner = rt * (zh[2] + self.rb[2]) + self.wb[2] if self.lbr else (rt * h) @ r[2].T + b[2]
                h = (1 - z) * f[1](zx[2] + inner) + z * h
            else:
                h = f[0](zx[0] + zh[0] + b[0])
            y.append(h)
        return np.array(y), h, c


KINDS = [("lstm", {}), ("gru", {"lbr": 1}), ("gru", {"lbr": 0}), ("rnn", {})]
KIND_IDS = ["lstm", "gru_lbr1", "gru_lbr0", "rnn"]


def run(layer, isa, x, h0, c0, **kw):
    h, c = aligned(h0, 4), aligned(c0, 8) if layer.kind == "lstm" else None
    y = layer.call(isa, x, h, c, **kw)
    return [y, h] + ([c] if c is not None else [])


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("I,H", [(1, 1), (3, 15), (1, 16), (5, 17), (7, 33), (33, 40), (16, 64), (65, 130)])
@pytest.mark.parametrize("T,B", [(1, 1), (1, 2), (1, 7), (5, 1), (3, 3), (9, 5), (2, 14)])
def test_recurrent(kind, options, I, H, T, B):
    rng = np.random.default_rng(T * 100 + B)
    layer = Layer(kind, I, H, seed=H, **options)
    x, h0, c0 = rand(rng, T, B, I), rand(rng, B, H), rand(rng, B, H)
    want = layer.reference(x, h0, c0)
    results = {}
    for isa in ISAS:
        got = run(layer, isa, x, h0, c0)
        for g, w in zip(got, want, strict=False):
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=2e-5, err_msg=isa)
        quiet = run(layer, isa, x, h0, c0, with_y=False)
        for a, b in zip(got[1:], quiet[1:], strict=True):
            np.testing.assert_array_equal(a, b)
        if isa == "scalar":
            continue
        results[isa] = got
        pieces = [run(layer, isa, x[:1], h0, c0)]
        for t in range(1, T):
            pieces.append(run(layer, isa, x[t : t + 1], *(pieces[-1][1:] + [c0])[:2]))
        same_bits({"whole": got, "steps": [np.concatenate([p[0] for p in pieces])] + pieces[-1][1:]})
        rows = [run(layer, isa, x[:, b : b + 1], h0[b : b + 1], c0[b : b + 1]) for b in range(B)]
        same_bits(
            {
                "batch": got,
                "rows": [np.concatenate([r[i] for r in rows], axis=min(1, 1 - (i > 0))) for i in range(len(got))],
            }
        )
    same_bits(results)


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
def test_long_chunk(kind, options):
    """Longer than one block of projected inputs."""
    rng = np.random.default_rng(8)
    layer = Layer(kind, 4, 300, seed=1, scale=0.05, **options)
    x, h0, c0 = rand(rng, 75, 2, 4), rand(rng, 2, 300), rand(rng, 2, 300)
    results = {isa: run(layer, isa, x, h0, c0) for isa in FUSED}
    same_bits(results)
    for isa in FUSED:
        first = run(layer, isa, x[:31], h0, c0)
        second = run(layer, isa, x[31:], *(first[1:] + [c0])[:2])
        same_bits({"whole": results[isa], "two": [np.concatenate([first[0], second[0]])] + second[1:]})
        np.testing.assert_allclose(results[isa][0], layer.reference(x, h0, c0)[0], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind,options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("use_lens", [False, True])
def test_reverse_and_lens(kind, options, reverse, use_lens):
    T, B, I, H = 6, 4, 3, 19
    rng = np.random.default_rng(3)
    layer = Layer(kind, I, H, **options)
    x, h0, c0 = rand(rng, T, B, I), rand(rng, B, H), rand(rng, B, H)
    lens = np.array([6, 0, 3, 1], np.int32) if use_lens else None
    for isa in ISAS:
        y, h, *c = run(layer, isa, x, h0, c0, lens=lens, reverse=reverse)
        for b in range(B):
            n = T if lens is None else int(lens[b])
            part = x[:n, b : b + 1][::-1] if reverse else x[:n, b : b + 1]
            wy, wh, wc = layer.reference(part, h0[b : b + 1], c0[b : b + 1])
            wy = wy.reshape(n, H)
            np.testing.assert_allclose(y[:n, b], wy[::-1] if reverse else wy, rtol=1e-4, atol=2e-5, err_msg=isa)
            assert not np.any(y[n:, b])
            np.testing.assert_allclose(h[b], wh[0], rtol=1e-4, atol=2e-5, err_msg=isa)
            if c:
                np.testing.assert_allclose(c[0][b], wc[0], rtol=1e-4, atol=2e-5, err_msg=isa)


@pytest.mark.parametrize("bad", [-1, 7])
def test_bad_length_writes_nothing(bad):
    layer = Layer("lstm", 2, 5)
    x = np.zeros((6, 2, 2), np.float32)
    for isa in ISAS:
        h, c = np.ones((2, 5), np.float32), np.ones((2, 5), np.float32)
        assert layer.call(isa, x, h, c, lens=np.array([3, bad], np.int32)) == 2
        assert np.all(h == 1) and np.all(c == 1)


CELLS = {
    "peephole": ("lstm", {"peephole": True}),
    "clip": ("lstm", {"clip": 0.5}),
    "coupled": ("lstm", {"input_forget": 1}),
    "coupled_peephole_clip": ("lstm", {"input_forget": 1, "peephole": True, "clip": 0.7}),
    "hard_sigmoid": ("lstm", {"acts": [("hard_sigmoid", 0.2, 0.5), TANH, ("softsign", 0, 0)]}),
    "relu_affine": ("lstm", {"acts": [SIGMOID, RELU, ("affine", 0.5, 0.1)], "scale": 0.1}),
    "gru_clip": ("gru", {"clip": 0.5}),
    "gru_hard": ("gru", {"acts": [("hard_sigmoid", 0.2, 0.5), ("softsign", 0, 0)]}),
    "gru0_clip_relu": ("gru", {"lbr": 0, "clip": 0.5, "acts": [SIGMOID, RELU]}),
    "rnn_relu": ("rnn", {"acts": [RELU], "scale": 0.1}),
    "rnn_clip": ("rnn", {"clip": 0.4}),
    "rnn_elu": ("rnn", {"acts": [("elu", 0.7, 0)], "scale": 0.1}),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("T,B,H", [(1, 1, 17), (4, 1, 40), (3, 8, 21)])
def test_any_cell(name, T, B, H):
    kind, options = CELLS[name]
    rng = np.random.default_rng(11)
    layer = Layer(kind, 6, H, **options)
    x, h0, c0 = rand(rng, T, B, 6), rand(rng, B, H), rand(rng, B, H)
    want = layer.reference(x, h0, c0)
    results = {}
    for isa in ISAS:
        got = run(layer, isa, x, h0, c0)
        for g, w in zip(got, want, strict=False):
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=2e-5, err_msg=isa)
        if isa != "scalar":
            results[isa] = got
    same_bits(results)


# ---- convolution ----


def conv_out(size, kernel, stride, dilation, pads):
    return (size + pads[0] + pads[1] - dilation * (kernel - 1) - 1) // stride + 1


def conv_reference(x, w, bias, groups, stride, dilation, pads):
    n, _, *size = x.shape
    M, Cg, *kernel = w.shape
    cut = tuple(slice(max(-p[0], 0), None) for p in pads)
    x = np.pad(x.astype(np.float64)[(..., *cut)], [(0, 0), (0, 0), *((max(a, 0), b) for a, b in pads)])
    out = [conv_out(*a) for a in zip(size, kernel, stride, dilation, pads, strict=True)]
    y = np.zeros((n, M, *out))
    for g in range(groups):
        for tap in np.ndindex(*kernel):
            where = tuple(
                slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
            )
            block = x[(slice(None), slice(g * Cg, (g + 1) * Cg)) + where]
            rows = slice(g * (M // groups), (g + 1) * (M // groups))
            y[:, rows] += np.einsum("nc...,mc->nm...", block, w[(rows, slice(None)) + tap].astype(np.float64))
    return y + bias.reshape(-1, *[1] * len(size))


def conv(isa, x, w, bias, groups, stride, dilation, pads, act=NONE, channels_last=False):
    n, C, *size = x.shape
    M, Cg, *kernel = w.shape
    S, Mg = len(size), M // groups
    out = [conv_out(*a) for a in zip(size, kernel, stride, dilation, pads, strict=True)]
    K = Cg * int(np.prod(kernel))
    packed = aligned(np.stack([pack(w[g * Mg : (g + 1) * Mg].reshape(1, Mg, K)) for g in range(groups)]))
    b = np.zeros((groups, pad16(Mg)), np.float32)
    b[:, :Mg] = bias.reshape(groups, Mg)
    whole, y = guarded((n, *out, M) if channels_last else (n, M, *out))
    view = np.moveaxis(y, -1, 1) if channels_last else y
    x = aligned(np.moveaxis(x, 1, -1).copy(), 4) if channels_last else aligned(x, 4)
    x_view = np.moveaxis(x, -1, 1) if channels_last else x
    three = lambda v, fill: list(v) + [fill] * (3 - S)  # noqa: E731
    elems = lambda a: [s // 4 for s in a.strides] + [0] * (3 - S)  # noqa: E731
    r = Record().ref(x).ref(packed).ref(aligned(b)).ref(y)
    r = r.ref(scratch(_core.conv_scratch(C, groups, *(three(v, 1) for v in (kernel, out, stride, dilation))) // 4))
    r.ints(n, C, M, groups, S)
    r.ints(*(v for sizes in (size, out, kernel, stride, dilation) for v in three(sizes, 1)))
    r.ints(*three([p[0] for p in pads], 0), *elems(x_view), *elems(view), packed[0].size)
    r.act(act)
    assert r.call(isa, "conv_f32") == 0
    assert guards_stand(whole)
    return view.copy()


CONVS = {
    "1d": ((2, 5, 20), (18, 5, 3), 1, [1], [1], [(1, 1)]),
    "1d_stride_dilation": ((1, 3, 41), (7, 3, 5), 1, [2], [3], [(4, 2)]),
    "1d_one_position": ((3, 6, 5), (33, 6, 5), 1, [1], [1], [(0, 0)]),
    "1d_one_position_dilated": ((2, 6, 9), (20, 6, 5), 1, [1], [2], [(0, 0)]),
    "1d_one_position_padded": ((2, 6, 3), (20, 6, 5), 1, [1], [1], [(2, 0)]),
    "1d_pointwise": ((2, 40, 9), (17, 40, 1), 1, [1], [1], [(0, 0)]),
    "1d_pointwise_stride": ((1, 8, 9), (17, 8, 1), 1, [2], [1], [(0, 0)]),
    "1d_depthwise": ((2, 12, 100), (12, 1, 5), 12, [1], [1], [(4, 0)]),
    "1d_depthwise_one": ((2, 12, 5), (12, 1, 5), 12, [1], [1], [(0, 0)]),
    "1d_groups": ((1, 8, 30), (36, 4, 3), 2, [1], [1], [(2, 0)]),
    "2d": ((2, 3, 17, 23), (20, 3, 3, 3), 1, [1, 2], [1, 1], [(1, 1), (0, 1)]),
    "2d_depthwise": ((1, 4, 9, 70), (8, 1, 3, 3), 4, [1, 1], [2, 1], [(2, 2), (1, 1)]),
    "2d_pointwise": ((1, 6, 5, 8), (9, 6, 1, 1), 1, [1, 1], [1, 1], [(0, 0), (0, 0)]),
    "2d_wide_pad": ((1, 2, 3, 3), (5, 2, 3, 3), 1, [1, 1], [1, 1], [(3, 3), (3, 3)]),
    "3d": ((1, 2, 5, 6, 7), (9, 2, 2, 3, 2), 1, [1, 2, 1], [2, 1, 1], [(1, 0), (1, 1), (0, 1)]),
    "1d_negative_pad": ((2, 3, 40), (5, 3, 3), 1, [1], [1], [(-2, 1)]),
    "1d_few_positions": ((1, 9, 4), (50, 9, 3), 1, [1], [1], [(1, 1)]),
    "1d_few_positions_stride": ((2, 9, 4), (20, 9, 3), 1, [2], [1], [(1, 1)]),
    "1d_wide_stride": ((1, 3, 129), (16, 3, 5), 1, [2], [1], [(2, 2)]),
    "1d_stride_beyond_kernel": ((1, 2, 200), (3, 2, 2), 1, [5], [2], [(1, 0)]),
    "1d_many_groups": ((1, 300, 40), (300, 1, 3), 300, [1], [1], [(1, 1)]),
    "1d_many_terms": ((2, 700, 130), (11, 700, 1), 1, [1], [1], [(0, 0)]),
    "1d_many_terms_stride": ((1, 410, 200), (9, 410, 3), 1, [2], [1], [(1, 0)]),
    "2d_many_terms": ((1, 130, 5, 117), (9, 130, 3, 3), 1, [1, 1], [1, 1], [(1, 1), (1, 1)]),
    "2d_last_axis_one": ((1, 4, 50, 1), (6, 4, 3, 1), 1, [1, 1], [1, 1], [(2, 0), (0, 0)]),
    "2d_dilated_history": ((1, 16, 11, 33), (16, 1, 3, 3), 16, [1, 1], [5, 1], [(0, 0), (1, 1)]),
    "0d": ((3, 7), (18, 7), 1, [], [], []),
    "long": ((1, 2, 1500), (10, 2, 7), 1, [1], [1], [(6, 0)]),
    "long_few": ((1, 2, 1500), (3, 2, 7), 1, [1], [1], [(6, 0)]),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_conv(name, channels_last):
    x_shape, w_shape, groups, stride, dilation, pads = CONVS[name]
    rng = np.random.default_rng(4)
    x, w, bias = rand(rng, *x_shape), rand(rng, *w_shape), rand(rng, w_shape[0])
    args = (groups, stride, dilation, pads)
    want = conv_reference(x, w, bias, *args)
    bound = (np.prod(w_shape[1:]) + 2) * EPS * conv_reference(np.abs(x), np.abs(w), np.abs(bias), *args)
    results = {}
    for isa in ISAS:
        y = conv(isa, x, w, bias, *args, channels_last=channels_last)
        assert np.all(np.abs(y - want) <= bound), isa
        relu = conv(isa, x, w, bias, *args, act=RELU, channels_last=channels_last)
        np.testing.assert_array_equal(relu, np.maximum(y, 0), err_msg=isa)
        if isa != "scalar":
            results[isa] = [np.ascontiguousarray(y)]
    same_bits(results)
    if "scalar" in ISAS and FUSED:
        first = conv(FUSED[0], x, w, bias, *args)
        np.testing.assert_array_equal(first, results[FUSED[0]][0], err_msg="layouts")
