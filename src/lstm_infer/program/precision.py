"""How the weights of a layer are held: asked for by `load(precision=)`, decided once for each node from its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from ..errors import ArgumentError
from ..frozen import frozen
from ..graph.ir import Array

__all__ = ["KINDS", "SLOT", "Held", "Precision", "decide", "exact_f16", "within_f16"]

KINDS: Final = ("f32", "f16", "int8")
"""What may be asked for."""
SLOT = {"f32": "f32", "f16": "f16", "int8": "i8"}
"""How the slots for it end."""
FEW = 16384
"""Weights of a layer that lies in L1 as f32 too: halves are no faster there."""
F16_MAX = 65504.0
FEW_I8 = 4096
"""Weights of one product that are read as fast as f32: quantising what they are multiplied with would cost more."""
LONG_ZEROS = 33025
"""Terms of the longest sum of products of 8-bit numbers, less a zero point, that int32 holds."""
SAMPLE = 1024
AT_ONCE = 1 << 18
"""Weights that are looked at together."""


@frozen
class Precision:
    """What was asked for: for the nodes that are named, and for the rest."""

    rest: str = "f32"
    named: tuple[tuple[str, str], ...] = ()

    def asked(self, node: str) -> str:
        """The kind that is asked for a node."""
        return dict(self.named).get(node, self.rest)

    def check(self, nodes: Iterable[str]) -> None:
        """Refuse names that no layer has."""
        known = dict.fromkeys(nodes)
        for name, _ in self.named:
            if name not in known:
                layers = ", ".join(map(repr, known)) or "none"
                raise ArgumentError(f"precision: there is no layer {name!r}; those with weights are {layers}")

    def __str__(self) -> str:
        return ", ".join([f"{name}: {kind}" for name, kind in self.named] + [self.rest])


@frozen
class Held:
    """How the weights of one node are held. `why` says why not as it was asked."""

    node: str
    op: str
    kind: str
    asked: str
    n_weights: int
    why: str = ""


def within_f16(array: Array) -> bool:
    """Is every finite number among them below the largest half."""
    return not any((np.isfinite(part) & (np.abs(part) > F16_MAX)).any() for part in _parts(array))


def _parts(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    return (flat[first : first + AT_ONCE] for first in range(0, flat.size, AT_ONCE))


def exact_f16(array: Array) -> bool:
    """Does a half hold each of them exactly, NaN but for its payload."""
    flat = array.reshape(-1)
    with np.errstate(over="ignore"):
        for part in (flat[:SAMPLE], flat[SAMPLE:]):
            if not np.array_equal(part.astype(np.float16).astype(np.float32), part, equal_nan=True):
                return False
    return True


def decide(node: str, op: str, asked: str, weights: Sequence[Array], terms: int, groups: int = 1) -> Held:
    """How the weights of a node are held, from their values alone. terms: of one sum; groups: products they are parted into."""
    arrays = [np.asarray(w, np.float32) for w in weights]
    n = sum(a.size for a in arrays)
    if asked == "int8":
        if not all(np.isfinite(part).all() for a in arrays for part in _parts(a)):
            return Held(node, op, "f32", asked, n, "a weight is not finite")
        if n // groups < FEW_I8:
            parted = f" in {groups:,} groups" if groups > 1 else ""
            return Held(node, op, "f32", asked, n, f"{n:,} weights{parted} are no faster in 8 bits")
        if terms > LONG_ZEROS:
            return Held(node, op, "f32", asked, n, f"sums of {terms:,} products may leave 32 bits")
        return Held(node, op, "int8", asked, n)
    if asked == "f16":
        if all(within_f16(a) for a in arrays):
            return Held(node, op, "f16", asked, n)
        most = max(float(np.abs(a).max()) for a in arrays if a.size)
        return Held(node, op, "f32", asked, n, f"a weight of {most:.6g} lies beyond the range of f16, {F16_MAX:g}")
    if n >= FEW and all(exact_f16(a) for a in arrays):
        return Held(node, op, "f16", asked, n, "f16 holds every weight exactly")
    return Held(node, op, "f32", asked, n)
