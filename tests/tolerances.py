"""Every tolerance of the test suite, each with its reason. No other file holds a number to compare with."""

from __future__ import annotations

import numpy as np

UNIT = 2.0**-24
"""Unit roundoff of float32."""


def _fail(what, got, want, allowed, where):
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    bad = ~((difference <= allowed) | (np.isnan(got) & np.isnan(want)) | (got == want))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise AssertionError(
            f"{where or 'values'} differ ({what}): {bad.sum()} of {bad.size}, first at {index}: got {got[index]!r}, "
            f"expected {want[index]!r}, largest difference {np.nanmax(np.where(bad, difference, 0)):.3g}"
        )


def _same_form(got, want, where):
    assert got.shape == want.shape, f"{where}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{where}: dtype {got.dtype}, expected {want.dtype}"


def exact(got, want, where=""):
    """Bit for bit: pieces against the whole, batch against single streams, set against set. NaN payloads excepted."""
    got, want = np.asarray(got), np.asarray(want)
    _same_form(got, want, where)
    if got.dtype.kind == "f":
        bits = np.dtype(f"u{got.dtype.itemsize}")
        nan = np.isnan(got) & np.isnan(want)
        same = (np.ascontiguousarray(got).view(bits) == np.ascontiguousarray(want).view(bits)) | nan
    else:
        same = got == want
    if not np.all(same):
        index = tuple(int(i) for i in np.argwhere(~np.asarray(same))[0])
        raise AssertionError(
            f"{where or 'values'} differ in their bits: {np.sum(~same)} of {same.size}, "
            f"first at {index}: {got[index]!r} and {want[index]!r}"
        )


def ulp(n, got, want, where=""):
    """n units in the last place of the expected value: bounds of activations, stated in docs/numerics.md."""
    _fail(f"{n} ulp", got, want, n * np.spacing(np.abs(want).astype(got.dtype)).astype(np.float64), where)


def onnxruntime_rule(want):
    """1e-5 + 1e-4 |ref|, the one rule for f32 against onnxruntime or eager outputs (DESIGN section 6).

    Both sides round every product differently; real models lose two to three digits over their layers.
    """
    return 1e-5 + 1e-4 * np.abs(want.astype(np.float64))


def like_onnxruntime(got, want, where=""):
    """Equal under `onnxruntime_rule`; integers and booleans exactly; half precision under its own rounding."""
    got, want = np.asarray(got), np.asarray(want)
    _same_form(got, want, where)
    if want.dtype.kind not in "f":
        exact(got, want, where)
    elif want.dtype == np.float16:
        # f16 inputs, f32 inside: one rounding of each side to 11 bits per f16 tensor passed on the way, some four deep
        _fail("half precision", got, want, 4 * 2.0**-11 * np.maximum(np.abs(want.astype(np.float64)), 2.0**-2), where)
    else:
        _fail("1e-5 + 1e-4 |ref|", got, want, onnxruntime_rule(want), where)


def like_onnxruntime_int8(got, want, where=""):
    """Two steps of a 7-bit scale: onnxruntime's own results move by as much between instruction sets."""
    got, want = np.asarray(got), np.asarray(want)
    _same_form(got, want, where)
    _fail("int8", got, want, 2 * np.abs(want).max(initial=0) / 127 + 1e-5, where)


def sum_bound(k, w, x):
    """Largest error of a float32 dot product of k terms, any order, fused or not: gamma_k * |w| . |x| (Higham 3.1)."""
    gamma = k * UNIT / (1 - k * UNIT)
    return gamma * np.abs(np.asarray(w, np.float64)) @ np.abs(np.asarray(x, np.float64))


def recurrent(got, ref64, ref32, where=""):
    """`onnxruntime_rule` around the float64 reference, widened where the recurrence itself multiplies rounding.

    ref32 is the same reference computed in float32; four times its largest distance from ref64 bounds what another
    order of the same operations may do. For the default activations that is far below the rule.
    """
    got, want = np.asarray(got), np.asarray(ref64).astype(np.float32)
    _same_form(got, want, where)
    noise = 4 * np.abs(ref32.astype(np.float64) - ref64).max(initial=0)
    _fail("1e-5 + 1e-4 |ref|", got, want, np.maximum(onnxruntime_rule(want), noise), where)


def no_worse_than_twice_onnxruntime(got, ort, ref64, where=""):
    """Largest error against float64 at most twice onnxruntime's (DESIGN section 6)."""
    _no_worse_than_onnxruntime(2, got, ort, ref64, where)


def one_draw_like_onnxruntime(got, ort, ref64, where=""):
    """Largest error against float64 at most six times onnxruntime's, where one random net is all that is looked at.

    Gates that hold a state for long add up the rounding of one number: 12 signals through such a net were 2.3 times as
    far off as onnxruntime's at 40 steps and 0.3 times at 16; a net on the edge of chaos gave 0.01 to 5.7.
    """
    _no_worse_than_onnxruntime(6, got, ort, ref64, where)


def _no_worse_than_onnxruntime(times, got, ort, ref64, where):
    """Floor: 8 units roundoff of the largest value, because on small cases onnxruntime is now and then exact by luck."""
    ours = np.abs(got - ref64).max(initial=0)
    theirs = np.abs(ort - ref64).max(initial=0)
    floor = 8 * UNIT * np.abs(ref64).max(initial=0)
    assert ours <= max(times * theirs, floor), (
        f"{where}: error {ours:.3g}, onnxruntime's {theirs:.3g}, floor {floor:.3g}"
    )
