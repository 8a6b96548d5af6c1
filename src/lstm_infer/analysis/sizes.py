"""Which sizes the inputs have where the file leaves them open: a first walk of the graph, at sizes that fit.

Weights say some of them; the rest are tried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Port
from ..ops import recurrent
from ..walk.walk import Walk, walk

__all__ = ["FirstWalk", "Place", "first_walk", "sizes_of", "sizes_that_fit"]

Place = tuple[str, int]
"""An axis of an input."""

_WIDE = (37, 41, 43, 47, 59, 61, 67, 71, 73, 79, 83)
_NARROW = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
_FRAMES = (128, 512, 1024, 4096)
"""Extents tried for open axes where smaller ones are too short for the model's windows: samples of a frame."""

_SIZES = (
    _WIDE, *((base, *_NARROW) for base in (37, 1, 6, *_FRAMES)), *((base,) for base in (37, 1, 6, *_FRAMES))
)  # fmt: skip
"""Sizes tried for open axes. Distinct and wide ones first: a time axis that is shorter than the windows over it shrinks
to one step and looks like samples inside a frame. All equal last: for axes that have to agree without saying so."""


@dataclass(frozen=True)
class FirstWalk:
    """A walk at sizes that fit."""

    walked: Walk
    sizes: dict[Place, int]
    """Extents of the axes that the file leaves open."""


def sizes_of(inputs: Sequence[Port], places: Collection[Place], arrays: Mapping[str, ArrayLike]) -> dict[Place, int]:
    """Extents of these open axes as given arrays have them: also of the others that the file calls by the same name."""
    found, named = {}, {}
    open_axes = [
        (port.name, axis, size if isinstance(size, str) else "", len(port.shape or ()))
        for port in inputs
        for axis, size in enumerate(port.shape or ())
        if (port.name, axis) in places
    ]
    for name, axis, symbol, rank in open_axes:
        shape = np.shape(arrays[name]) if name in arrays else ()
        if len(shape) == rank:
            found[name, axis] = named[symbol] = shape[axis]
    same = {(name, axis): named[symbol] for name, axis, symbol, _ in open_axes if symbol and symbol in named}
    return {**same, **found}


def sizes_that_fit(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], bound: Mapping[str, Array]
) -> dict[Place, int] | None:
    """Extents of open axes at which the graph walks with these inputs known: a network that they choose may want other
    sizes than the one chosen before. None: there are none."""
    others = [port for port in inputs if port.name not in bound]
    found = first_walk(graph, others, {**constants, **bound})
    return found.sizes if isinstance(found, FirstWalk) else None


def first_walk(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> FirstWalk | str:
    """A walk at declared sizes, open axes at sizes that tell them apart, or else all equal; or why there is none."""
    failure = "an input has no declared rank"
    known = _sizes_by_weights(graph, inputs)
    for primes, leading in ((_SIZES[0], False), (_SIZES[0], True), *((primes, False) for primes in _SIZES[1:])):
        sizes = _open_sizes(inputs, primes, leading)
        if sizes is None:
            break
        sizes |= {place: n for place, n in known.items() if place in sizes}
        facts = {name: Fact.of(array) for name, array in constants.items()}
        for port in inputs:
            assert port.shape is not None
            shape = [n if isinstance(n, int) else sizes[port.name, a] for a, n in enumerate(port.shape)]
            facts[port.name] = Fact(tuple(shape), port.dtype)
        try:
            return FirstWalk(walk(graph, facts), sizes)
        except ShapeError as error:
            failure = str(error)
    return failure


def _sizes_by_weights(graph: Graph, inputs: Sequence[Port]) -> dict[Place, int]:
    """Extents of input axes that meet constant weights directly: features of X, units of a first state."""
    rank = {port.name: len(port.shape or ()) for port in inputs}
    found: dict[Place, int] = {}
    for node in graph.walk():
        consts = [graph.consts.get(name) for name in node.inputs]
        first = node.inputs[0] if node.inputs else ""
        if recurrent.is_recurrent(node) and len(consts) > 2 and consts[1] is not None and consts[1].ndim == 3:
            found[first, 2] = consts[1].shape[2]
            for _, index, _ in recurrent.states(node):
                if index < len(node.inputs) and consts[2] is not None and consts[2].ndim == 3:
                    found[node.inputs[index], 2] = consts[2].shape[2]
                    found[node.inputs[index], recurrent.direction_axis(node)] = consts[2].shape[0]
        elif (
            node.op == "MatMul" and len(consts) > 1 and consts[1] is not None and consts[1].ndim == 2 and first in rank
        ):
            found[first, rank[first] - 1] = consts[1].shape[0]
    return found


def _open_sizes(inputs: Sequence[Port], primes: Sequence[int], leading: bool) -> dict[Place, int] | None:
    """One size for each open axis, the same for axes of one name; the last of `primes` for all that are left. `leading`:
    the first axes of all inputs are one, as Keras means them without saying so."""
    sizes: dict[Place, int] = {}
    by_name: dict[str, int] = {}
    for port in inputs:
        if port.shape is None:
            return None
        for axis, size in enumerate(port.shape):
            if not isinstance(size, int):
                key = size if isinstance(size, str) and size else f"{port.name}.{axis}"
                key = "" if leading and axis == 0 else key
                sizes[port.name, axis] = by_name.setdefault(key, primes[min(len(by_name), len(primes) - 1)])
    return sizes
