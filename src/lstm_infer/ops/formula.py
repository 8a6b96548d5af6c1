"""Formulas, and the map program that computes one.

A formula is a nested tuple (instruction, operand, ...) whose operands are numbers of inputs (int), constants (float) or
formulas. Equal parts are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..program.builder import Builder
from ..program.views import View

__all__ = ["Formula", "apply", "unsigned"]

Formula = int | float | tuple[Any, ...]


def apply(
    b: Builder, formula: Formula, ins: Sequence[View], out: View, *, ints: bool = False, fits: bool = False
) -> None:
    """One map step that computes `formula` over `ins`. ints, fits: see Builder.map."""
    constants: dict[str, float] = {}
    _constants(formula, constants)
    dtype = np.int64 if ints else np.float32
    views = [*ins, *(b.scalar(int(c) if ints else c, dtype) for c in constants.values())]
    place = {key: len(ins) + index for index, key in enumerate(constants)}
    ops: list[tuple[Any, ...]] = []
    made: dict[str, int] = {}

    def register_of(part: Formula) -> int:
        if isinstance(part, int):
            return part
        key = repr(part)  # unlike the value it tells input 0, 0.0 and -0.0 apart
        if isinstance(part, float):
            return place[key]
        if key not in made:
            args = [register_of(operand) for operand in part[1:]]
            ops.append((part[0], *args))
            made[key] = len(views) + len(ops) - 1
        return made[key]

    register_of(formula if isinstance(formula, tuple) else ("MOVE", formula))
    b.map(views, ops, out, ints=ints, fits=fits)


_TOP = -(2.0**63)
"""The highest bit: turned, it makes the order of uint64 that of int64."""


def unsigned(formula: Formula) -> Formula:
    """A formula of integers for uint64, which int64 registers hold as their bits."""
    if not isinstance(formula, tuple):
        return formula
    code, *operands = (formula[0], *map(unsigned, formula[1:]))
    if code in ("LT", "LE", "MIN", "MAX"):
        made = (code, *(("BITXOR", operand, _TOP) for operand in operands))
        return made if code in ("LT", "LE") else ("BITXOR", made, _TOP)
    if code == "ABS":
        return operands[0]
    if code == "SIGN":
        return ("NOT", ("NOT", *operands))
    return ({"DIV": "UDIV", "MOD": "UMOD", "FMOD": "UMOD"}.get(code, code), *operands)


def _constants(part: Formula, found: dict[str, float]) -> None:
    if isinstance(part, float):
        found[repr(part)] = part
    elif isinstance(part, tuple):
        for operand in part[1:]:
            _constants(operand, found)
