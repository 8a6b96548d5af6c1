"""LSTM, GRU and RNN in numpy from the equations of docs/lstm.md and docs/recurrent.md. Imports nothing of ours.

All three take x [T, B, I], w [D, G*H, I], r [D, G*H, H], bias [D, 2*G*H], lens [B], h0 and c0 [D, B, H] (layout 1
swaps batch to the front of x, h0, c0 and of the results) and return y [T, D, B, H] and the last states. `dtype` is
the precision that everything is computed in: float64 makes the oracle, float32 shows how far rounding alone goes.
"""

from __future__ import annotations

import numpy as np

NONE = {"affine": None, "thresholdedrelu": None, "scaledtanh": None}
ALPHA = {"leakyrelu": 0.01, "hardsigmoid": 0.2, "elu": 1.0, **NONE}
BETA = {"hardsigmoid": 0.5, "affine": 0.0, "scaledtanh": None}
"""Which activations take the value, and its default. None: the ONNX text and onnxruntime disagree, none is assumed."""


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


ACTIVATIONS = {
    "sigmoid": lambda x, a, b: sigmoid(x),
    "tanh": lambda x, a, b: np.tanh(x),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0 * x),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
}


def bind_activations(names, alpha, beta, clip):
    """One function per name. alpha and beta are dealt out in order, only to the names that take one."""
    alphas, betas, bound = list(alpha or ()), list(beta or ()), []
    limit = np.inf if clip is None else clip
    for name in map(str.lower, names):
        a = (alphas.pop(0) if alphas else ALPHA[name]) if name in ALPHA else 0.0
        b = (betas.pop(0) if betas else BETA[name]) if name in BETA else 0.0
        if a is None or b is None:
            raise ValueError(f"{name} needs its alpha and beta")

        def apply(z, f=ACTIVATIONS[name], a=a, b=b, limit=limit):
            return f(np.clip(z, -limit, limit), z.dtype.type(a), z.dtype.type(b))

        bound.append(apply)
    return bound


def walk(x, lens, states, direction, dtype, cell):
    """Run `cell(d, x_t, states)` over time in every direction; rows behind their length keep state and give zeros."""
    steps, batch = x.shape[:2]
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    hidden = states[0].shape[-1]
    lens = np.full(batch, steps) if lens is None else np.asarray(lens)
    y = np.zeros((steps, len(backwards), batch, hidden), dtype)
    last = [s.copy() for s in states]
    rows = np.arange(batch)
    for d, back in enumerate(backwards):
        for s in range(steps):
            alive = s < lens
            t = np.where(alive, lens - 1 - s, 0) if back else np.full(batch, s)
            new = cell(d, x[t, rows], [state[d] for state in last])
            for state, value in zip(last, new, strict=True):
                state[d] = np.where(alive[:, None], value, state[d])
            y[t[alive], d, rows[alive]] = new[0][alive]
    for state in last:
        state[:, lens == 0] = 0  # what onnxruntime gives for an empty row: zero, not the initial state
    return y, last


def prepare(dtype, layout, x, h0, c0, w, r, bias, gates):
    x, w, r = (np.asarray(v, dtype) for v in (x, w, r))
    if layout:
        x, h0, c0 = x.swapaxes(0, 1), *(None if v is None else np.swapaxes(v, 0, 1) for v in (h0, c0))
    hidden, directions, batch = r.shape[2], r.shape[0], x.shape[1]
    zeros = np.zeros((directions, batch, hidden), dtype)
    h0, c0 = (zeros if v is None else np.asarray(v, dtype) for v in (h0, c0))
    bias = np.zeros((directions, 2 * gates * hidden), dtype) if bias is None else np.asarray(bias, dtype)
    return x, h0, c0, w, r, bias[:, : gates * hidden], bias[:, gates * hidden :], hidden


def finish(layout, y, last):
    return (y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in last)) if layout else (y, *last)


def lstm(x, w, r, bias=None, lens=None, h0=None, c0=None, peephole=None, *, direction="forward", activations=None,
         alpha=None, beta=None, clip=None, input_forget=0, layout=0, dtype=np.float64):  # fmt: skip
    """Gates i, o, f, c. i = f(z_i + p_i c), f = f(z_f + p_f c) or 1 - i, c' = f c + i g(z_c), o = f(z_o + p_o c')."""
    x, h0, c0, w, r, wb, rb, hidden = prepare(dtype, layout, x, h0, c0, w, r, bias, 4)
    directions = w.shape[0]
    names = activations or ["Sigmoid", "Tanh", "Tanh"] * directions
    gate_acts = bind_activations(names, alpha, beta, clip)
    cell_acts = bind_activations(names, alpha, beta, None)  # onnxruntime does not clip what h() gets
    p = np.zeros((directions, 3 * hidden), dtype) if peephole is None else np.asarray(peephole, dtype)

    def cell(d, x_t, states):
        (h, c), (f_act, g_act), h_act = states, gate_acts[3 * d : 3 * d + 2], cell_acts[3 * d + 2]
        zi, zo, zf, zc = np.split(x_t @ w[d].T + h @ r[d].T + wb[d] + rb[d], 4, axis=1)
        pi, po, pf = np.split(p[d], 3)
        i = f_act(zi + pi * c)
        f = 1 - i if input_forget else f_act(zf + pf * c)
        c = f * c + i * g_act(zc)
        return f_act(zo + po * c) * h_act(c), c

    return finish(layout, *walk(x, lens, [h0, c0], direction, dtype, cell))


def gru(x, w, r, bias=None, lens=None, h0=None, *, direction="forward", activations=None, alpha=None, beta=None,
        clip=None, linear_before_reset=0, layout=0, dtype=np.float64):  # fmt: skip
    """Gates z, r, h. h' = (1 - z) g(candidate) + z h; the reset gate sits before or after the product with R."""
    x, h0, _, w, r, wb, rb, _ = prepare(dtype, layout, x, h0, None, w, r, bias, 3)
    acts = bind_activations(activations or ["Sigmoid", "Tanh"] * w.shape[0], alpha, beta, clip)

    def cell(d, x_t, states):
        (h,), (f_act, g_act) = states, acts[2 * d : 2 * d + 2]
        xz, xr, xh = np.split(x_t @ w[d].T + wb[d], 3, axis=1)
        rz, rr, rh = np.split(r[d], 3)
        bz, br, bh = np.split(rb[d], 3)
        z, reset = f_act(xz + h @ rz.T + bz), f_act(xr + h @ rr.T + br)
        inner = reset * (h @ rh.T + bh) if linear_before_reset else (reset * h) @ rh.T + bh
        return ((1 - z) * g_act(xh + inner) + z * h,)

    return finish(layout, *walk(x, lens, [h0], direction, dtype, cell))


def rnn(x, w, r, bias=None, lens=None, h0=None, *, direction="forward", activations=None, alpha=None, beta=None,
        clip=None, layout=0, dtype=np.float64):  # fmt: skip
    """h' = f(W x + R h + biases)."""
    x, h0, _, w, r, wb, rb, _ = prepare(dtype, layout, x, h0, None, w, r, bias, 1)
    acts = bind_activations(activations or ["Tanh"] * w.shape[0], alpha, beta, clip)

    def cell(d, x_t, states):
        return (acts[d](x_t @ w[d].T + states[0] @ r[d].T + wb[d] + rb[d]),)

    return finish(layout, *walk(x, lens, [h0], direction, dtype, cell))
