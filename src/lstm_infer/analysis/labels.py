"""Labels of input axes, as the axes of a value hold them: each axis is a product of labelled factors.

Labels that turn out to be one axis are joined; `Trace` answers where in a value a label stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from ..frozen import frozen

__all__ = ["Axis", "Factor", "Place", "Trace", "plain"]


@frozen
class Factor:
    """A part of an axis; label 0 is none."""

    label: int
    extent: int


Axis = tuple[Factor, ...]


@frozen
class Place:
    """Where a label stands in a value: in which axis, how far it reaches, and the extents of what shares that axis."""

    axis: int
    before: tuple[Factor, ...]
    """Outside it: for each of their positions all of the label's follow."""
    extent: int
    after: tuple[Factor, ...]
    """Inside it: they run through for each of its positions."""

    @property
    def alone(self) -> bool:
        """Is the axis this label and nothing else."""
        return self.outer == self.inner == 1

    @property
    def outer(self) -> int:
        """Extent of what stands outside it."""
        return prod(f.extent for f in self.before)

    @property
    def inner(self) -> int:
        """Extent of what stands inside it."""
        return prod(f.extent for f in self.after)


@dataclass
class Trace:
    """Axes of every computed value, and what each value depends on."""

    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    deps: dict[str, frozenset[int]] = field(default_factory=dict)
    """Labels of the input axes a value was computed from, whether it still has them or not."""
    sources: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Label to (graph input, axis)."""
    parent: dict[int, int] = field(default_factory=dict)

    def root(self, label: int) -> int:
        """The label that stands for all it was found equal to."""
        while self.parent.get(label, label) != label:
            label = self.parent[label]
        return label

    def join(self, a: int, b: int) -> None:
        """Two labels are the same axis."""
        a, b = self.root(a), self.root(b)
        if a and b and a != b:
            self.parent[max(a, b)] = min(a, b)

    def inputs_of(self, label: int) -> list[tuple[str, int]]:
        """The graph input axes behind a label."""
        root = self.root(label)
        return [place for other, place in self.sources.items() if self.root(other) == root]

    def find(self, value: str, label: int) -> int | None:
        """The axis of a value that holds the label."""
        root = self.root(label)
        for axis, factors in enumerate(self.axes.get(value, ())):
            if any(self.root(f.label) == root for f in factors if f.label):
                return axis
        return None

    def place(self, value: str, label: int) -> Place | None:
        """Where a value has the label; None: it does not."""
        root = self.root(label)
        for axis, factors in enumerate(self.axes.get(value, ())):
            for i, f in enumerate(factors):
                if f.label and self.root(f.label) == root:
                    return Place(axis, factors[:i], f.extent, factors[i + 1 :])
        return None

    def steps(self, value: str, label: int) -> int:
        """How many positions of the label a value has, whatever else shares its axis; 0: it does not have it."""
        root = self.root(label)
        factors = (f for axis in self.axes.get(value, ()) for f in axis if f.label)
        return next((f.extent for f in factors if self.root(f.label) == root), 0)

    def alone(self, value: str, axis: int) -> int:
        """The label of an axis that consists of it alone, else 0."""
        axes = self.axes.get(value)
        if axes is None:
            return 0
        factors = [f for f in axes[axis] if f.extent != 1] or [f for f in axes[axis] if f.label]
        return self.root(factors[0].label) if len(factors) == 1 else 0

    def depends(self, value: str, label: int) -> bool:
        """Was the value computed from an input that has this axis."""
        root = self.root(label)
        return any(self.root(other) == root for other in self.deps.get(value, ()))


def plain(shape: Iterable[int]) -> tuple[Axis, ...]:
    """Axes without labels."""
    return tuple((Factor(0, n),) for n in shape)
