"""Sin, Cos, Tan, their inverses, and the hyperbolic ones.

Source: the ONNX operator pages of the same names. Those that are not instructions of `map` are formulas that neither
overflow nor cancel before the result does.
"""

from __future__ import annotations

from math import log

import numpy as np

from .elementwise import elementwise, plain
from .formula import Formula


def _log1p(u: Formula) -> Formula:
    """log(1 + u) from log alone (Kahan): u * log(w) / (w - 1) with w = 1 + u rounded; exact where w is 1 or u."""
    w = ("ADD", 1.0, u)
    long = ("DIV", ("MUL", u, ("LOG", w)), ("SUB", w, 1.0))
    return ("SELECT", ("EQ", w, 1.0), u, ("SELECT", ("EQ", w, u), ("LOG", w), long))


_A = ("ABS", 0)
_LARGE = 1e9
"""From here on sqrt(x * x + 1) is x in float32, and x * x may overflow soon."""
_ASIN = ("ATAN", ("DIV", 0, ("SQRT", ("MUL", ("SUB", 1.0, 0), ("ADD", 1.0, 0)))))
_ACOS = ("MUL", 2.0, ("ATAN", ("SQRT", ("DIV", ("SUB", 1.0, 0), ("ADD", 1.0, 0)))))
_HALF_EXP = ("EXP", ("MUL", 0.5, 0))  # exp(x) = e * e: does not overflow before the result does
_RISING = ("MUL", ("MUL", 0.5, _HALF_EXP), _HALF_EXP)
_FALLING = ("DIV", ("DIV", 0.5, _HALF_EXP), _HALF_EXP)
_T = ("TANH", ("MUL", 0.5, 0))  # near 0: sinh = 2 t / (1 - t t), without the cancellation
_SINH = (
    "SELECT",
    ("LT", _A, 1.0),
    ("DIV", ("MUL", 2.0, _T), ("SUB", 1.0, ("MUL", _T, _T))),
    ("SUB", _RISING, _FALLING),
)
_LOG_2X = ("ADD", ("LOG", _A), log(2.0))
_ASINH_U = ("ADD", _A, ("MUL", _A, ("DIV", _A, ("ADD", 1.0, ("SQRT", ("ADD", ("MUL", _A, _A), 1.0))))))
_ASINH = ("MUL", ("SIGN", 0), ("SELECT", ("LT", _LARGE, _A), _LOG_2X, _log1p(_ASINH_U)))
_D = ("SUB", 0, 1.0)
_ACOSH_U = ("ADD", _D, ("SQRT", ("MUL", _D, ("ADD", 0, 1.0))))
_ACOSH = ("SELECT", ("LT", _LARGE, 0), _LOG_2X, _log1p(_ACOSH_U))
_ATANH = ("MUL", ("MUL", 0.5, ("SIGN", 0)), _log1p(("DIV", ("MUL", 2.0, _A), ("SUB", 1.0, _A))))

elementwise("Sin", plain(np.sin), ("SIN", 0))
elementwise("Cos", plain(np.cos), ("COS", 0))
elementwise("Tan", plain(np.tan), ("DIV", ("SIN", 0), ("COS", 0)))
elementwise("Asin", plain(np.arcsin), _ASIN)
elementwise("Acos", plain(np.arccos), _ACOS)
elementwise("Atan", plain(np.arctan), ("ATAN", 0))
elementwise("Sinh", plain(np.sinh), _SINH)
elementwise("Cosh", plain(np.cosh), ("ADD", _RISING, _FALLING))
elementwise("Asinh", plain(np.arcsinh), _ASINH)
elementwise("Acosh", plain(np.arccosh), _ACOSH)
elementwise("Atanh", plain(np.arctanh), _ATANH)
