"""What goes into a step and comes out of it, as C sees it: names, types, shapes and sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...errors import ArgumentError, ConvertError
from .schedule import Schedule

__all__ = ["Port", "c_names", "plain", "ports"]

TYPES = {
    "float32": "float", "float64": "double", "float16": "uint16_t", "bfloat16": "uint16_t", "bool": "uint8_t",
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t",
    "uint32": "uint32_t", "int64": "int64_t", "uint64": "uint64_t",
}  # fmt: skip
NOTES = {"float16": "half floats as bits", "bfloat16": "bfloat16 as bits", "bool": "0 or 1"}

WORDS = """state scratch n_steps
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while alignas
    alignof and and_eq asm bitand bitor bool catch class compl concept consteval constexpr constinit const_cast co_await
    co_return co_yield decltype delete dynamic_cast explicit export false friend mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public reinterpret_cast requires static_assert static_cast template this
    thread_local throw true try typeid typename using virtual wchar_t xor xor_eq linux unix near far stdin stdout stderr
    errno int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t uintptr_t size_t memcpy memset"""
"""What a parameter may not be called: words of C and C++, macros of some compilers, what the code of a call uses."""

MACRO = re.compile(
    r"[A-Z][A-Z0-9_]+|I|(PRI|SCN)[a-zA-Z]\w*|L_tmpnam|P_tmpdir|complex|imaginary|noreturn|math_errhandling"
)
"""Names of macros: capitals throughout, as in headers of C, of systems and of boards, and others of the C library."""

CALLS = "init reset step run made flush seed state_size scratch_size weights"
"""What is called NAME_ and this."""


@dataclass(frozen=True)
class Port:
    """An input or an output of a call. `shape`: of one program; `time`: its axis of time, -1 for none; `steps`: the most entries
    along time that it has in one call; `frame`: one of these for each frame of a call."""

    name: str
    c_name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    time: int
    steps: int
    moves: bool
    """Does each program of a call have its own part of it."""

    @property
    def c_type(self) -> str:
        return TYPES[self.dtype.name]

    @property
    def elements(self) -> int:
        """The most elements of one program."""
        shape = list(self.shape)
        if self.time >= 0:
            shape[self.time] = self.steps
        return prod(shape)

    def described(self, repeats: int) -> str:
        """Its type and shape in words."""
        extents = [f"[{self.steps if axis == self.time else n}]" for axis, n in enumerate(self.shape)]
        if repeats > 1 and self.moves:
            extents.insert(0, f"[{repeats}]")
        note = f", {NOTES[self.dtype.name]}" if self.dtype.name in NOTES else ""
        axis = 0 if repeats > 1 and self.moves else self.time
        time = f"; axis {axis} is time" if axis >= 0 else ""
        return f"{self.c_type} {''.join(extents) or '[1]'}{note}{time}"


def ports(found: Schedule, repeats: int, model: str) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs of a model of this name.

    Raises
    ------
    ConvertError
        A type that C has no word for.
    ArgumentError
        A call of several steps would have to gather them.
    """
    plan = found.plan
    spec, facts = plan.spec, plan.fed.facts(found.steps)
    made = [f"{o.name}_out" if o.name in plan.fed.names else o.name for o in spec.outputs]
    names = c_names([*plan.fed.names, *made], [f"{model}_{call}" for call in CALLS.split()])
    inputs, own = [], iter(names)
    for name in plan.fed.names:
        time = -1 if spec.mode == "frame" else spec.roles.time.get(name, -1)
        streamed = time >= 0 or (spec.mode == "frame" and name in plan.fed.streamed)
        shape, dtype = facts[name].shape, facts[name].dtype
        inputs.append(_port(name, next(own), dtype, shape, time, shape[time] if time >= 0 else 1, streamed))
    outputs = []
    for index, output in enumerate(spec.outputs):
        mine = [run.facts[run.present.index(index)] for run in (*found.runs, *found.flushes) if index in run.present]
        fact = mine[0] if mine else plan.out_facts[output.name]
        time = output.axis if output.kind == "time" and spec.mode != "frame" else -1
        steps = max((one.shape[time] for one in mine), default=0) if time >= 0 else 1
        moves = time >= 0 or spec.mode == "frame"
        outputs.append(_port(output.name, next(own), fact.dtype, fact.shape, time, steps, moves))
    if repeats > 1:
        for port in (*inputs, *outputs):
            if port.moves and prod(port.shape[: max(port.time, 0)]) > 1:
                raise ArgumentError(
                    f"chunk={repeats}: the model takes one step at a time, and {port.name!r} has its time behind a batch; "
                    "use chunk=1"
                )
    return inputs, outputs


def _port(
    name: str, c_name: str, dtype: np.dtype[Any], shape: tuple[int, ...], time: int, steps: int, moves: bool
) -> Port:
    if dtype.name not in TYPES:
        raise ConvertError(f"{name!r} is {dtype}, for which C has no type")
    return Port(name, c_name, dtype, shape, time, steps, moves)


def c_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """A name for C for each of these, all different, and none of those that are taken."""
    found = list[str]()
    used = {*WORDS.split(), *taken}
    for name in names:
        made = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
        if not re.match(r"[A-Za-z]", made) or made.startswith("li_"):
            made = f"x_{made}"
        one, count = made, 1
        while one in used or (one == made and MACRO.fullmatch(made)):
            count += 1
            one = f"{made}_{count}"
        used.add(one)
        found.append(one)
    return found


def plain(text: str) -> str:
    """A name as a comment of C, or a line of text, may hold it."""
    found = "".join(c if c.isascii() and c.isprintable() and c not in "\\?`" else "_" for c in text)
    return found.replace("*/", "*_").replace("/*", "_*")
