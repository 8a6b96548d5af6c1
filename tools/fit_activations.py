"""Regenerate kernels/body/activations_coef.h: every coefficient, and the error of its fit.

    python tools/fit_activations.py > kernels/body/activations_coef.h

Weighted minimax (Remez exchange on a Chebyshev grid) in 40-digit arithmetic, so the output is the same on every
machine. Coefficients are rounded to f32 one after the other, lowest power first, the rest being fitted again
each time. Printed errors are of the rounded polynomial in exact arithmetic, relative to the function, in units of
2^-24 (half an ulp or less); the rounding of the evaluation comes on top and is measured by the tests.
"""

import struct

from mpmath import matrix, mp, mpf

mp.dps = 40
GRID = 300


def to_f32(x):
    """Round to the nearest float32 (through float64: 2^-29 of a tie away from double rounding, harmless here)."""
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def polynomial(coefs, x):
    y = mpf(0)
    for c in reversed(coefs):
        y = y * x + c
    return y


def remez(points, target, weight, low, n):
    """Coefficients of x^low .. x^(low+n-1) that minimise max |weight * (p - target)| over the grid."""
    size = len(points)
    rows = [round(i * (size - 1) / n) for i in range(n + 1)]
    for _ in range(60):
        a = matrix(n + 1, n + 1)
        b = matrix(n + 1, 1)
        for i, g in enumerate(rows):
            for j in range(n):
                a[i, j] = points[g] ** (low + j)
            a[i, n] = (-1) ** i / weight[g]
            b[i] = target[g]
        solved = mp.lu_solve(a, b)
        coefs, level = list(solved[:n]), abs(solved[n])
        error = [(points[g] ** low * polynomial(coefs, points[g]) - target[g]) * weight[g] for g in range(size)]
        peaks = []  # the largest error of every run of one sign
        for g in range(size):
            if peaks and (error[g] > 0) == (error[peaks[-1]] > 0):
                if abs(error[g]) > abs(error[peaks[-1]]):
                    peaks[-1] = g
            else:
                peaks.append(g)
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < n + 1 or max(map(abs, error)) <= level * (1 + mpf(10) ** -6):
            break
        rows = peaks
    return coefs


def fit(target_of, weight_of, low, high, n):
    """n float32 coefficients for target on [low, high], and the largest weighted error."""
    points = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * GRID)) for i in range(GRID)]
    target = [target_of(x) for x in points]
    weight = [abs(weight_of(x)) for x in points]
    fixed = []
    while len(fixed) < n:
        rest = [t - polynomial(fixed, x) for t, x in zip(target, points, strict=True)]
        fixed.append(to_f32(remez(points, rest, weight, len(fixed), n - len(fixed))[0]))
    error = max(abs(polynomial(fixed, x) - t) * w for x, t, w in zip(points, target, weight, strict=True))
    return fixed, error


def split(x, parts):
    """x as a sum of float32, largest first."""
    out = []
    for _ in range(parts):
        out.append(to_f32(x))
        x -= out[-1]
    return out


def f32(x):
    return float(x).hex().replace("0000000p", "p") + "f"


def f64(x):
    return float(x).hex()


def emit(name, values, note, as_text=f32):
    print(f"/* {note} */")
    for i, c in enumerate(values):
        print(f"#define LI_{name}{i if len(values) > 1 else ''} ({as_text(c)})")
    print()


def emit_fit(name, form, low, high, n, target_of, weight_of):
    coefs, error = fit(target_of, weight_of, mpf(low), mpf(high), n)
    units = mp.nstr(error * 2**24, 3)
    emit(name, coefs, f"{form} on [{mp.nstr(mpf(low), 7)}, {mp.nstr(mpf(high), 7)}]: {units} x 2^-24")
    return coefs


def main():
    print("/* Written by tools/fit_activations.py; do not edit. Errors: fit only, relative, in units of 2^-24. */")
    print("#ifndef LI_ACTIVATIONS_COEF_H\n#define LI_ACTIVATIONS_COEF_H\n")
    ln2 = mp.log(2)
    emit("LOG2E", [to_f32(1 / ln2)], "log2(e)")
    emit("LN2_", split(ln2, 2), "ln 2 as a sum")
    half = ln2 / 2 * mpf("1.001")
    c = emit_fit(
        "EXP",
        "expm1(r) = r + r^2 p(r)",
        -half,
        half,
        5,
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: r**2 / mp.expm1(r),
    )
    emit("EXPH", [x * 2 ** (i + 1) for i, x in enumerate(c)], "the same for expm1(2 r) / 2 = r + r^2 p(r)")
    emit_fit(
        "LOG",
        "log1p(f) = f - f^2 / 2 + f^3 p(f)",
        mp.sqrt(0.5) - 1,
        mp.sqrt(2) - 1,
        9,
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3,
        lambda f: f**3 / mp.log1p(f),
    )
    edge = mpf(475) / 512
    emit("ERF_EDGE", [edge], "erf: the second form from here on")
    emit_fit(
        "ERFS",
        "erf(t) = t + t p(t^2)",
        0,
        edge**2,
        6,
        lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1,
        lambda s: mp.sqrt(s) / mp.erf(mp.sqrt(s)),
    )
    emit_fit(
        "ERFL",
        "erf(t) = 1 - exp(-(t + t p(t)))",
        edge,
        mpf("4.0"),
        7,
        lambda t: -mp.log(mp.erfc(t)) / t - 1,
        lambda t: mp.erfc(t) * t / mp.erf(t),
    )
    quarter = mp.pi / 4 * mpf("1.01")
    emit("TWO_OVER_PI", [to_f32(2 / mp.pi)], "2 / pi")
    emit("PIO2_", split(mp.pi / 2, 3), "pi / 2 as a sum")
    emit_fit(
        "SIN",
        "sin(r) = r + r^3 p(r^2)",
        0,
        quarter**2,
        4,
        lambda s: (mp.sin(mp.sqrt(s)) / mp.sqrt(s) - 1) / s,
        lambda s: s * mp.sqrt(s) / mp.sin(mp.sqrt(s)),
    )
    emit_fit(
        "COS",
        "cos(r) = 1 - r^2 / 2 + r^4 p(r^2)",
        0,
        quarter**2,
        3,
        lambda s: (mp.cos(mp.sqrt(s)) - 1 + s / 2) / s**2,
        lambda s: s**2 / mp.cos(mp.sqrt(s)),
    )
    emit_fit(
        "ATAN",
        "atan(t) = t + t^3 p(t^2)",
        0,
        1,
        9,
        lambda s: (mp.atan(mp.sqrt(s)) / mp.sqrt(s) - 1) / s,
        lambda s: s * mp.sqrt(s) / mp.atan(mp.sqrt(s)),
    )
    emit("PIO2_D", [mp.pi / 2], "f64: pi / 2", f64)
    emit(
        "POW_L",
        [2 / (ln2 * (2 * i + 1)) for i in range(9)],
        "f64: log2((1+s)/(1-s)) = s p(s^2), series; left out at |s| <= 0.1716: 2^-51 of the value",
        f64,
    )
    emit(
        "POW_E",
        [ln2**i / mp.factorial(i) for i in range(1, 11)],
        "f64: 2^f = 1 + f p(f), series; left out at |f| <= 0.5: 2^-42",
        f64,
    )
    with mp.workdps(100):
        bits = int(mp.floor(2 / mp.pi * mpf(2) ** 224))
    words = [0, 0] + [(bits >> (32 * (6 - i))) & 0xFFFFFFFF for i in range(7)]
    print("/* 2 / pi, 64 integer and 224 fraction bits */")
    print("#define LI_TWO_OVER_PI_BITS " + ", ".join(f"0x{w:08x}u" for w in words) + "\n")
    print("#endif")


main()
