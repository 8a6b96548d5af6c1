"""The states of the file that is written: their ports, and what they hold before the first step."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph.fact import Fact
from ...graph.ir import Array, Port
from .draft import Draft, held

__all__ = ["Carries", "Carry", "entered"]


@dataclass
class Carry:
    """One state: an input and an output of the file."""

    label: str
    """What it is to the engine: the name of a public state, or what a node keeps."""
    kind: str
    """"state", "window" (the last positions of a value), "queue" (those that wait for another), "frames" (fed so far),
    "end" (of the whole signal) or "started" (is this not the first step)."""
    name: str
    after: str
    """The output with its next value."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: Array | float
    """What it holds before the first step, in float32 or the type of the file: an array, or one number."""
    value: str = ""
    """In a draft: what its next value is made of."""


@dataclass
class Carries:
    """All states of a file, by label."""

    taken: set[str]
    """Names of ports."""
    found: dict[str, Carry] = field(default_factory=dict)

    @classmethod
    def beside(cls, ports: Collection[str]) -> Carries:
        """States beside these inputs and outputs."""
        return cls(set(ports))

    def port(self, label: str, after: str, shape: tuple[int, ...], dtype: Any) -> Carry:
        """A state that is an input of the source; `after`: the output with its next value, "" for a new one."""
        carry = Carry(label, "state", label, after or self.fresh(f"{label}_out"), shape, np.dtype(dtype), 0.0)
        self.found[label] = carry
        return carry

    def hidden(self, label: str, kind: str, shape: tuple[int, ...], dtype: Any, first: Array | float) -> Carry:
        """A state that the source hides."""
        name = self.fresh(_valid(label), pair=True)
        self.taken.add(f"{name}_out")
        carry = Carry(label, kind, name, f"{name}_out", shape, np.dtype(dtype), first)
        self.found[label] = carry
        return carry

    def fresh(self, wish: str, *, pair: bool = False) -> str:
        """A name that no port has; pair: neither has that of its next value."""
        name, number = wish, 1
        while name in self.taken or (pair and f"{name}_out" in self.taken):
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        return name


def _valid(label: str) -> str:
    """A label as ONNX wants a name: a C identifier."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")
    return name if name and not name[0].isdigit() else f"state_{name}".rstrip("_")


def entered(d: Draft, carry: Carry) -> str:
    """The input of a state, in float32."""
    d.inputs.append(Port(carry.name, carry.dtype, carry.shape))
    d.facts[carry.name] = Fact(carry.shape, carry.dtype)
    return d.cast(carry.name, held(d.facts[carry.name]).dtype)
