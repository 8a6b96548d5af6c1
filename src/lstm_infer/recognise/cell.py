"""One step of a layer as it is recognised, and what all kinds of steps are read with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..frozen import frozen
from ..graph.ir import Array, Node
from .affine import Affine, Leaf, Reader
from .rewrite import Editor

__all__ = ["MOVES", "Cell", "Context", "Matcher", "same"]

MOVES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Concat", "Split", "Slice", "Gather",
         "Cast"}  # fmt: skip


@frozen
class Context:
    """What else is known of the states of a graph."""

    back: Mapping[str, str] = field(default_factory=dict)
    """Graph input to the graph output that comes back as its next value: certain (bodies of Scan, load(states=))."""
    outputs: tuple[str, ...] = ()
    """Graph outputs where `back` is not known: names may then tell a state from an input."""


@dataclass
class Cell:
    """One step that was recognised."""

    op: str
    size: int
    h_out: str
    c_out: str
    acts: list[tuple[str, tuple[float, ...]]]
    gates: dict[str, Affine]
    rest: Affine | None
    """GRU with linear_before_reset: the part of the candidate that r multiplies."""
    nodes: set[int]
    h: Leaf | None = None
    c: str = ""
    reset: int = 0
    peepholes: dict[str, Array] = field(default_factory=dict)

    def leaves(self) -> list[Leaf]:
        """All sources in the order of first use, the reset state of a GRU not among them."""
        found: dict[Leaf, None] = {}
        for affine in (*self.gates.values(), *([self.rest] if self.rest else [])):
            found.update(dict.fromkeys(affine.terms))
        return list(found)


class Matcher:
    """Questions that the equations of more than one kind ask."""

    def __init__(self, edit: Editor, read: Reader) -> None:
        self.edit, self.known, self.read = edit, edit.known, read

    def factors(self, name: str, trail: list[Node]) -> tuple[str, str] | None:
        """The operands of a product."""
        node = self.edit.maker.get(self.edit.root(name, trail))
        if node is None or node.op != "Mul" or node.domain:
            return None
        trail.append(node)
        return node.inputs[0], node.inputs[1]

    def one_minus(self, name: str, trail: list[Node]) -> str | None:
        """z of 1 - z, also where it is written as -z + 1."""
        node = self.edit.maker.get(self.edit.root(name, trail))
        if node is None or node.domain or node.op not in ("Sub", "Add"):
            return None
        trail.append(node)
        if node.op == "Sub":
            return node.inputs[1] if self.is_one(node.inputs[0]) else None
        for one, minus in (node.inputs, node.inputs[::-1]):
            negated = self.edit.maker.get(self.edit.root(minus, trail)) if self.is_one(one) else None
            if negated is not None and negated.op == "Neg" and not negated.domain:
                trail.append(negated)
                return negated.inputs[0]
        return None

    def is_one(self, name: str) -> bool:
        const = self.known.const(name)
        return const is not None and bool(np.all(const == 1))

    def summands(self, name: str, depth: int = 0) -> tuple[list[str], set[int]]:
        trail: list[Node] = []
        node = self.edit.maker.get(self.edit.root(name, trail))
        if depth > 4 or node is None or node.op != "Add" or node.domain or self.read.affine(name) is not None:
            return [name], set()
        nodes = {id(n) for n in (*trail, node)}
        found: list[str] = []
        for side in node.inputs:
            terms, more = self.summands(side, depth + 1)
            found += terms
            nodes |= more
        return found, nodes

    def alike(self, out: str, name: str, size: int) -> bool:
        """Is a value a whole state of the size of `out`: nothing is broadcast."""
        known = self.known
        return known.is_real(name) and known.lead(name) == known.lead(out) and known.shapes(name)[0][-1] == size

    def fits(self, out: str) -> bool:
        """At most one axis besides the units is free: the batch."""
        return all(len(lead) <= 1 for lead in self.known.lead(out))

    def candidates(self, cell: Cell) -> list[Leaf]:
        found = []
        for leaf in cell.leaves():
            widths = {len(g.terms[leaf]) for g in cell.gates.values() if leaf in g.terms}
            if widths == {cell.size} and self._lead(leaf) == self.known.lead(cell.h_out):
                found.append(leaf)
        return found

    def matrices(self, cell: Cell, h: Leaf) -> bool:
        return h in self.candidates(cell) and len(cell.leaves()) > 1

    def _lead(self, leaf: Leaf) -> tuple[tuple[int, ...], ...]:
        shapes = self.known.shapes(leaf.base)
        if leaf.axis:
            shapes = tuple(s[: len(s) - leaf.axis] + s[len(s) - leaf.axis + 1 :] for s in shapes)
        return tuple(tuple(n for n in s[:-1] if n != 1) for s in shapes)


def same(a: Array, b: Array) -> bool:
    """Are two matrices one."""
    return a.shape == b.shape and (a is b or _place(a) == _place(b) or np.array_equal(a, b))


def _place(a: Array) -> Any:
    return a.__array_interface__["data"][0], a.shape, a.strides
