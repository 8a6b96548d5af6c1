"""What C is written with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ... import given
from ...errors import ArgumentError
from .sets import SETS, InstructionSet, instruction_set

__all__ = ["COptions", "named_after"]


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

    @property
    def set(self) -> InstructionSet:
        return SETS[self.isa]


def named_after(text: str) -> str:
    """A name for C from that of a file."""
    found = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return found if re.match(r"[A-Za-z]", found) else f"m_{found}" if found else "model"
