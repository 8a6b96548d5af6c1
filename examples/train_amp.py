"""
How the demo's amplifier was made
=================================

The circuit, the training, and PyTorch's ordinary export of the model that `lstm-infer demo` plays.

.. code-block:: sh

    pip install lstm_infer torch onnx
    python examples/train_amp.py      # 15 minutes on one core; writes src/lstm_infer/cli/demo/amp.onnx

ESR (the energy of the error over the energy of the target) of the shipped file, on audio that training never saw:
0.75 % over 21 clips of 1.5 s, 0.59 % on the demo's riff; ESR_BOUND is what tests/test_demo.py holds it to. A new
stream in silence begins with a tick (peak 0.18, where the riff's is 0.8) that is down to 0.001 after 6 ms.
The shipped file was trained in two sittings: its first part had 5600 updates without silent columns, the second is
the one below, begun from its weights. So a run of this file gives a model of that kind, not those bits.

The model is one LSTM of 40 units, a dense layer to one sample, and the input added to its output: the shape of
Wright, Damskägg and Välimäki, "Real-time black-box modelling with recurrent neural networks" (DAFx 2019), whose
loss (ESR behind a pre-emphasis filter, and a DC term) and truncated back-propagation with a warm-up are used too.
The target is no recording but a circuit of our own, so that everything here can be made again and given away.
"""

from __future__ import annotations

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstm_infer.cli.demo.pluck import chord, riff

RATE = 48000
OVERSAMPLING = 4
ESR_BOUND = 0.02
"""What the shipped model must stay below on `held_out()`."""

Audio = NDArray[np.float64]


# The circuit: a coupling capacitor, a gain stage, a resistor into a capacitor with two unlike diodes across it, and a
# tone stack. What makes it more than a curve: the capacitor, and a bias that charges while the diodes conduct and
# leaks away slowly, so that a loud chord shifts the working point of the quiet notes after it, as a tube's grid
# current does. Voltages are in volts; the values are ours, chosen to lie where small amplifiers and pedals do.
GAIN = 14.0
REST_BIAS = 0.35
CLIPPER_HZ = 7000.0  # 1 / (2 pi R C) of the clipper
LEAK = 2e-4  # R times the diodes' saturation current
KNEE_UP, KNEE_DOWN = 0.085, 0.15  # emission coefficient times thermal voltage: one diode up, two in series down
BIAS_PER_VOLT = 2.2
CHARGE_S, LEAK_AWAY_S = 0.006, 0.045


def amplify(x: Audio) -> Audio:
    """Run clips [T, n], one per column, through the circuit in lockstep. Silence before the first sample.

    Linear parts are exact analogue responses, applied by FFT; the clipper is integrated by the backward Euler rule at
    four times the rate. Its equation v + a (v + LEAK (exp(v/up) - exp(-v/down))) = v_before + a u has one unknown and
    grows strictly, so it is solved once for a table of right sides, and each sample looks its root up: no iteration
    that may fail to converge, and an error below 1e-6 V.
    """
    n_steps, n_clips = x.shape
    tail = RATE // 4  # the filters ring into it, and not round the FFT into the beginning
    n = n_steps + tail
    n_high = n * OVERSAMPLING
    padded = np.concatenate([x, np.zeros((tail, n_clips))])
    spectrum = np.fft.rfft(padded, axis=0)
    s = 2j * np.pi * np.fft.rfftfreq(n, 1 / RATE)[:, None]
    spectrum *= GAIN * s / (s + 2 * np.pi * 70.0)
    high = np.fft.irfft(spectrum, n_high, axis=0) * OVERSAMPLING

    a = 2 * np.pi * CLIPPER_HZ / (RATE * OVERSAMPLING)
    root = np.linspace(-1.9, 1.2, 1 << 15)
    right = root + a * (root + LEAK * (np.exp(root / KNEE_UP) - np.exp(-root / KNEE_DOWN)))
    charge = 1.0 / (CHARGE_S * RATE * OVERSAMPLING)
    leak_away = 1.0 / (LEAK_AWAY_S * RATE * OVERSAMPLING)
    v_rest = REST_BIAS / (1.0 + BIAS_PER_VOLT)  # where silence has left it; the diodes hardly conduct there
    v, bias = np.full(n_clips, v_rest), np.full(n_clips, REST_BIAS - v_rest)
    for u in high:
        v = np.interp(v + a * (u + REST_BIAS - bias), right, root)
        wanted = BIAS_PER_VOLT * np.maximum(v, 0.0)
        bias += np.where(wanted > bias, charge, leak_away) * (wanted - bias)
        u[:] = v

    spectrum = np.fft.rfft(high, axis=0)[: n // 2 + 1] / OVERSAMPLING
    spectrum *= _tone_stack(s)
    return 0.55 * np.fft.irfft(spectrum, n, axis=0)[:n_steps]


def _tone_stack(s: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """High-pass at 45 Hz, a dip of 5 dB at 550 Hz, low-pass of second order at 4.5 kHz. Nothing above 20 kHz."""
    w_mid, w_top = 2 * np.pi * 550.0, 2 * np.pi * 4500.0
    dip = (s * s + 0.8 * w_mid * s + w_mid**2) / (s * s + 0.8 * 10 ** (5 / 20) * w_mid * s + w_mid**2)
    top = w_top**2 / (s * s + 1.41 * w_top * s + w_top**2)
    band = np.clip((22000.0 - np.abs(s) / (2 * np.pi)) / 2000.0, 0.0, 1.0)
    return s / (s + 2 * np.pi * 45.0) * dip * top * band


def make_clips(n_clips: int, seconds: float, *, seed: int) -> tuple[Audio, Audio]:
    """Return input and target, float64 [T, n_clips]: strings and chords, sweeps, noise bursts, at many levels."""
    random = np.random.default_rng(seed)
    makers: list[Callable[[np.random.Generator, float], Audio]] = [_strings, _strings, _strings, _sweep, _noise]
    x = np.stack([makers[k % len(makers)](random, seconds) for k in range(n_clips)], axis=1)
    return x, amplify(x)


def held_out(n_clips: int = 20, seconds: float = 1.5) -> tuple[Audio, Audio]:
    """Clips that no training sees, and the demo's own riff as the last column."""
    x, _ = make_clips(n_clips, seconds, seed=20_000)
    x = np.concatenate([x, riff(seconds)[:, None].astype(np.float64)], axis=1)
    return x, amplify(x)


def _strings(random: np.random.Generator, seconds: float) -> Audio:
    sound = np.zeros(round(seconds * RATE))
    at = 0
    while at < len(sound):
        length = min(random.uniform(0.08, 0.9), (len(sound) - at) / RATE)
        base = 82.41 * 2 ** (random.integers(0, 30) / 12)
        shapes = [[1.0], [1.0], [1.0, 1.5], [1.0, 1.5, 2.0], [1.0, 1.26, 1.5], [1.0, 1.5, 2.0, 2.4, 3.0]]
        tones = [base * k for k in shapes[random.integers(len(shapes))]]
        note = chord(
            tones,
            length,
            rate=RATE,
            seed=int(random.integers(1 << 30)),
            sustain=random.uniform(0.3, 4.0),
            brightness=random.uniform(0.3, 0.9),
            position=random.uniform(0.08, 0.4),
        )
        note = note[: len(sound) - at]
        fade = min(256, len(note))
        note[len(note) - fade :] *= np.linspace(1.0, 0.0, fade)
        sound[at : at + len(note)] = note * 10 ** random.uniform(-1.3, -0.1)  # -26 to -2 dB
        at += max(len(note), 1) + int(random.integers(0, 2400)) * int(random.integers(0, 2))
    return sound


def _sweep(random: np.random.Generator, seconds: float) -> Audio:
    n = round(seconds * RATE)
    t = np.arange(n) / n
    low, high = 30.0, random.uniform(2000.0, 12000.0)
    hertz = low * (high / low) ** (t if random.integers(2) else 1.0 - t)
    loud = 10 ** np.interp(t, [0.0, 0.5, 1.0], random.uniform(-1.8, -0.2, 3))
    return loud * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)


def _noise(random: np.random.Generator, seconds: float) -> Audio:
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(random.standard_normal(n))
    spectrum /= 1.0 + np.fft.rfftfreq(n, 1 / RATE) / random.uniform(200.0, 6000.0)
    sound = np.fft.irfft(spectrum, n)
    edges = np.sort(random.integers(0, n, 9))
    level = np.repeat(10 ** random.uniform(-1.6, -0.5, 10), np.diff([0, *edges, n]))
    level *= np.repeat(random.integers(0, 3, 10) > 0, np.diff([0, *edges, n]))  # a third of them silent
    return sound / np.std(sound) * level


def esr(target: Audio, got: Audio) -> float:
    """Energy of the error over the energy of the target."""
    return float(np.square(target - got).sum() / np.square(target).sum())


def main() -> None:
    """Make the data, train, report, export."""
    parser = argparse.ArgumentParser(description="Train and export the demo's amplifier model.")
    home = Path(__file__).resolve().parent.parent / "src" / "lstm_infer" / "cli" / "demo" / "amp.onnx"
    parser.add_argument("--out", type=Path, default=home)
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--updates", type=int, default=5600, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    import torch
    from torch import nn

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # the matrices are small: a second thread costs more than it brings

    class Amp(nn.Module):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, units)
            self.dense = nn.Linear(units, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dense(self.lstm(x)[0]) + x

    def emphasise(y: torch.Tensor) -> torch.Tensor:
        return y[1:] - 0.85 * y[:-1]

    def loss_of(target: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
        error = emphasise(target) - emphasise(got)
        shape = error.square().mean() / (emphasise(target).square().mean() + 1e-5)
        level = (target - got).square().mean() / (target.square().mean() + 1e-5)
        direct = (target - got).mean(0).square().mean() / (target.square().mean() + 1e-5)
        return shape + level + direct

    began = time.perf_counter()
    x, y = (torch.from_numpy(a.astype(np.float32)) for a in make_clips(160, 1.5, seed=1))
    x_held, y_held = held_out()
    x_check = torch.from_numpy(x_held.astype(np.float32))[..., None]
    print(f"data: {x.shape[1]} clips of {x.shape[0] / RATE:g} s in {time.perf_counter() - began:.0f} s", flush=True)

    model = Amp(args.units)
    batch, warm_up, chunk, n_silent = 40, 1024, 1024, 4

    def train(updates: int, peak: float, *, chunks: int, fresh_every: int, start_weight: float) -> None:
        """Rounds of one warm-up, or none where the round begins with the clips, and `chunks` chunks learnt from."""
        optimiser = torch.optim.Adam(model.parameters(), lr=peak)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=updates + 1, pct_start=0.05)
        done, round_ = 0, 0
        while done < updates:
            fresh = round_ % fresh_every == fresh_every - 1
            n = warm_up + chunk * chunks
            starts = torch.zeros(batch, dtype=torch.long) if fresh else torch.randint(0, x.shape[0] - n, (batch,))
            clips = torch.randperm(x.shape[1])[:batch]
            at = starts[None, :] + torch.arange(n)[:, None]
            xs, ys = x[at, clips][..., None], y[at, clips][..., None]
            state = (torch.zeros(1, batch, args.units), torch.zeros(1, batch, args.units))
            if fresh:
                xs[:, :n_silent], ys[:, :n_silent] = 0.0, 0.0
            else:
                with torch.no_grad():
                    _, state = model.lstm(xs[:warm_up], state)
            total = 0.0
            for k in range(0 if fresh else warm_up, n, chunk):
                hidden, state = model.lstm(xs[k : k + chunk], state)
                got = model.dense(hidden) + xs[k : k + chunk]
                loss = loss_of(ys[k : k + chunk], got)
                if k == 0:
                    loss = loss + start_weight * (ys[:256] - got[:256]).square().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                state = (state[0].detach(), state[1].detach())
                total += loss.item()
                done += 1
                if done == updates:
                    break
            round_ += 1
            if round_ % 25 == 0 or done == updates:
                report(done, total / (n // chunk - (not fresh)))

    def report(done: int, loss: float) -> None:
        with torch.no_grad():
            got = model(x_check)[..., 0].double().numpy()
            thump = float(model(torch.zeros(2400, 1, 1)).abs().max())
        took = time.perf_counter() - began
        whole, one = 100 * esr(y_held, got), 100 * esr(y_held[:, -1], got[:, -1])
        print(
            f"{done:5d} updates, {took:4.0f} s: loss {loss:.4f}, held-out ESR {whole:.2f} %, riff {one:.2f} %, "
            f"peak of a new stream in silence {thump:.3f}",
            flush=True,
        )

    train(args.updates, 6e-3, chunks=14, fresh_every=4, start_weight=0.0)
    # The LSTM starts from zeros, which is not its state in silence: it would click. So it learns to start gently.
    torch.manual_seed(args.seed + 1)
    train(args.updates // 8, 1.5e-3, chunks=3, fresh_every=2, start_weight=300.0)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    # The trace-based exporter keeps the lengths of both axes open; dynamo=True writes the example's into shapes.
    torch.onnx.export(
        model.eval(),
        (torch.zeros(7, 2, 1),),
        str(args.out),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "T", 1: "B"}, "y": {0: "T", 1: "B"}},
        opset_version=17,
        verbose=False,
    )
    print(f"wrote {args.out} ({args.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
