"""The instruction sets that C can be written for, and what a compiler has to be told for each."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import IsaError

__all__ = ["COMMON_FLAGS", "SETS", "InstructionSet", "instruction_set"]

COMMON_FLAGS = ("-std=c11", "-ffp-contract=off", "-fno-math-errno")
"""What the bits depend on: a multiplication and an addition are fused where the source says so, and nowhere else."""


@dataclass(frozen=True)
class InstructionSet:
    """One set of kernels/li_isas.def. `vocabulary`: the header of its vector types; empty for plain C."""

    name: str
    vocabulary: str
    machine: str
    flags: tuple[str, ...] = ()

    @property
    def fused(self) -> bool:
        """Does it give the bits that all fused sets give."""
        return bool(self.vocabulary)


_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")

SETS = {
    found.name: found
    for found in (
        InstructionSet("scalar", "", ""),
        InstructionSet("avx2", "vec/avx2_i8.h", "x86_64", _AVX2),
        InstructionSet("avx512", "vec/avx512_i8.h", "x86_64", _AVX512),
        InstructionSet("avx512vnni", "vec/avx512vnni_i8.h", "x86_64", (*_AVX512, "-mavx512vnni")),
        InstructionSet("neon", "vec/neon_i8.h", "arm64"),
        InstructionSet("neondot", "vec/neondot_i8.h", "arm64", ("-march=armv8.2-a+dotprod",)),
    )
}


def instruction_set(name: str) -> InstructionSet:
    """The set of this name.

    Raises
    ------
    IsaError
        There is none.
    """
    if name not in SETS:
        raise IsaError(f"isa={name!r}: C is written for one of {', '.join(SETS)}")
    return SETS[name]
