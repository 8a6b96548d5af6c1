"""What C is written with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ... import given
from ...errors import ArgumentError
from .sets import SETS, InstructionSet, instruction_set

__all__ = ["COptions", "named_after"]

TAKEN = """li
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef
    stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype features immintrin arm_neon"""
"""What NAME.h may not be called, or NAME_step and the like: headers that code of C reads, and what stands in our own."""


@dataclass(frozen=True)
class COptions:
    """Options of the form "c".

    Attributes
    ----------
    isa : str
        The one instruction set that the code is for; "scalar" is plain C.
    chunk : int
        Steps of time that one call takes.
    name : str
        What files and functions are called.
    batch : int
        Signals that are stepped in lockstep.
    seed : int
        Of the frames that are recorded for the test.
    """

    isa: str = "scalar"
    chunk: int = 1
    name: str = "model"
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        given.number("chunk", self.chunk, 1)
        given.number("batch", self.batch, 1)
        if not isinstance(self.isa, str) or self.isa not in SETS:
            instruction_set(str(self.isa))
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise ArgumentError(f"name: letters, digits and _ expected, a letter first, got {self.name!r}")
        if _is_taken(self.name):
            raise ArgumentError(f"name: {self.name!r} is taken by C or by our kernels; give another one")

    @property
    def set(self) -> InstructionSet:
        return SETS[self.isa]


def named_after(text: str) -> str:
    """A name for C from that of a file."""
    found = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    if not found:
        return "model"
    return found if re.match(r"[A-Za-z]", found) and not _is_taken(found) else f"m_{found}"


def _is_taken(name: str) -> bool:
    return name.lower() in TAKEN.split() or name.startswith("li_")
