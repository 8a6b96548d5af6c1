"""Plucked strings in NumPy alone, so that the demo has something to play without shipping a recording.

Karplus and Strong's string (Computer Music Journal 7(2), 1983) with the tuning of Jaffe and Smith (same issue): a
burst of noise runs round a delay line of one period, and a short filter in the loop damps high partials first.
The loop is a recursion, but over a whole period: a block as long as the shortest tap depends only on blocks before
it, so each period is a handful of vector operations instead of several hundred Python steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["chord", "pluck", "riff"]

_TAPS = 5
"""Loop filter: 2 taps of damping convolved with 4 taps of fractional delay."""


def pluck(
    frequency: float,
    seconds: float,
    *,
    rate: int = 48000,
    sustain: float = 3.0,
    brightness: float = 0.7,
    position: float = 0.17,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return one plucked string, float64 [T], peak 1.

    Parameters
    ----------
    frequency : float
        Fundamental in Hz, from 20 to a twelfth of `rate`.
    seconds : float
        Length of the sound.
    rate : int
        Samples per second.
    sustain : float
        Seconds until the fundamental has fallen by 60 dB.
    brightness : float
        0 is a soft thumb, 1 a hard plectrum: how much treble the pluck has, and how long it rings.
    position : float
        Where the string is plucked, as a part of its length; 0.5 is the middle.
    seed : int
        Of the noise that is the pluck. Equal arguments give equal bits.

    Raises
    ------
    ValueError
        An argument lies outside its range.
    """
    if not 20.0 <= frequency <= rate / 12:
        raise ValueError(f"pluck: frequency is 20 to {rate / 12:g} Hz at {rate} samples/s, got {frequency:g}")
    if not (seconds > 0 and sustain > 0):
        raise ValueError(f"pluck: seconds and sustain are above 0, got {seconds:g} and {sustain:g}")
    if not (0.0 <= brightness <= 1.0 and 0.0 < position < 1.0):
        raise ValueError(f"pluck: brightness is 0 to 1 and position inside 0 to 1, got {brightness:g} and {position:g}")
    period = rate / frequency
    n = round(seconds * rate)
    taps, shortest = _loop(period, 10.0 ** (-3.0 / (sustain * frequency)), 0.5 * (1.0 - brightness) ** 2 + 0.02)

    line = np.zeros(shortest + _TAPS + n)  # the first part is the silent string before the pluck
    start = shortest + _TAPS
    burst = _burst(period, brightness, position, np.random.default_rng(seed))
    line[start : start + len(burst)] = burst[:n]
    for at in range(start + shortest, start + n, shortest):
        end = min(at + shortest, start + n)
        block = line[at:end]
        for k, tap in enumerate(taps):
            back = shortest + k
            block += tap * line[at - back : end - back]
    sound = line[start:]
    return sound / max(float(np.abs(sound).max()), 1e-9)


def chord(
    frequencies: list[float], seconds: float, *, rate: int = 48000, strum: float = 0.012, seed: int = 0, **how: float
) -> NDArray[np.float64]:
    """Return several strings struck one after the other, `strum` seconds apart: float64 [T], peak near 1.

    `how` goes to `pluck`: sustain, brightness, position. Raises what `pluck` raises.
    """
    sound = np.zeros(round(seconds * rate))
    for k, frequency in enumerate(frequencies):
        late = round(k * strum * rate)
        if late < len(sound):
            string = pluck(frequency, (len(sound) - late) / rate, rate=rate, seed=seed + 7919 * k, **how)
            sound[late:] += string[: len(sound) - late]
    return sound / math.sqrt(max(len(frequencies), 1))


def riff(seconds: float = 4.0, *, rate: int = 48000, seed: int = 1) -> NDArray[np.float32]:
    """Return a small guitar riff, float32 [T], peak 0.6: muted power chords, a run, an open chord that rings out.

    The riff lasts four seconds and is cut, or begun again, to fill `seconds`. Same seed, same bits.
    """
    if not seconds > 0:
        raise ValueError(f"riff: seconds is above 0, got {seconds:g}")
    e, g, a, b = 82.41, 98.00, 110.00, 123.47  # low E string and up, Hz
    muted = {"sustain": 0.5, "brightness": 0.45}
    open_ = {"sustain": 4.0, "brightness": 0.75}
    score: list[tuple[float, list[float], float, dict[str, float]]] = [  # begin, strings, length, how
        (0.00, [e, 1.5 * e, 2 * e], 0.30, open_),
        (0.30, [e], 0.15, muted),
        (0.45, [e], 0.15, muted),
        (0.60, [g, 1.5 * g, 2 * g], 0.30, open_),
        (0.90, [e], 0.15, muted),
        (1.05, [a, 1.5 * a, 2 * a], 0.45, open_),
        (1.50, [4 * e], 0.15, open_),
        (1.65, [4 * g], 0.15, open_),
        (1.80, [4 * a], 0.15, open_),
        (1.95, [4 * b], 0.30, open_),
        (2.25, [4 * a], 0.15, open_),
        (2.40, [e, b, 2 * e, 2 * g, 2 * b, 4 * e], 1.60, {"sustain": 3.0, "brightness": 0.65}),
    ]
    bar = np.zeros(round(4.0 * rate))
    fade = round(0.006 * rate)  # the hand that stops the strings: a cut without it clicks
    for k, (begin, strings, length, how) in enumerate(score):
        sound = chord(strings, length, rate=rate, seed=100003 * seed + 31 * k, **how)
        sound[-fade:] *= np.linspace(1.0, 0.0, fade)
        at = round(begin * rate)
        bar[at : at + len(sound)] += sound[: len(bar) - at]
    bar *= 0.6 / np.abs(bar).max()
    n = round(seconds * rate)
    return np.tile(bar, -(-n // len(bar)))[:n].astype(np.float32)


def _loop(period: float, gain: float, damping: float) -> tuple[NDArray[np.float64], int]:
    """Taps of the loop filter, and the delay of the first; their delays at low frequency add up to `period`."""
    whole = math.floor(period - damping - 1.0)  # third-order Lagrange is best with its delay between 1 and 2
    d = period - damping - whole
    fraction = np.array(
        [
            -(d - 1) * (d - 2) * (d - 3) / 6,
            d * (d - 2) * (d - 3) / 2,
            -d * (d - 1) * (d - 3) / 2,
            d * (d - 1) * (d - 2) / 6,
        ]
    )
    return gain * np.convolve(fraction, [1.0 - damping, damping]), whole


def _burst(period: float, brightness: float, position: float, random: np.random.Generator) -> NDArray[np.float64]:
    """One period of noise, without DC, softened, and with the notches that the place of the pluck makes."""
    n = math.ceil(period)
    spectrum = np.fft.rfft(random.uniform(-1.0, 1.0, n))
    harmonic = np.arange(len(spectrum))
    spectrum *= 1.0 / (1.0 + (harmonic / (3.0 + 40.0 * brightness**2)) ** 2)
    spectrum *= np.sin(np.pi * harmonic * position)  # sin(0) = 0: no DC
    return np.fft.irfft(spectrum, n)
