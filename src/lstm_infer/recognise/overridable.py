"""Inputs with a value in the file (initializers that are graph inputs too): which of them may be fed all the same.

Rewrites read these values as they read weights: a transposed one is a constant then, one that a cell was recognised by is
a part of it, and another value would change nothing, or half of it. So one may be fed where every node of the file that reads
it reads it still, and makes nothing that is known before a call; the others are fixed when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port

__all__ = ["fix_defaults", "settle_defaults"]

Readers = dict[str, list[Hashable]]
"""By input: the nodes that read it, as far as two of them are told apart."""


def fix_defaults(graph: Graph, constants: Mapping[str, Array]) -> Readers:
    """Put what the caller made constants in the place of the file's values; the nodes that read each of the others.

    Raises
    ------
    ShapeError, DtypeError
        A value is of another shape, or of a type that does not hold it.
    """
    for name, value in constants.items():
        held = graph.defaults.get(name)
        if held is None:
            continue
        if value.shape != held.shape:
            raise ShapeError(f"constants: {name!r} is {list(held.shape)} in the file, got {list(value.shape)}")
        cast = value.astype(held.dtype)
        if not np.array_equal(cast, value, equal_nan=value.dtype.kind == "f"):
            raise DtypeError(f"constants: {name!r} takes {held.dtype}, {value.dtype} does not fit it")
        graph.consts[name] = cast
        _fix(graph, name)
    found: Readers = {name: [] for name in graph.defaults}
    for node in graph.walk() if found else ():
        for name in {*node.inputs} & found.keys():
            found[name].append(_shown(node, name))
    return found


def settle_defaults(graph: Graph, readers: Readers, walked: Callable[[], Mapping[str, Fact] | None]) -> list[Port]:
    """Fix what may not be fed; the others. readers: before the graph was rewritten. walked: a walk of it now, where there
    is one."""
    if not readers:
        return []
    facts = walked()
    there = {_shown(node, name): node for node in graph.walk() for name in {*node.inputs} & readers.keys()}
    for name, nodes in readers.items():
        now = [there.get(node) for node in nodes]
        if facts is None or not all(node is not None and _is_open(node, facts) for node in now):
            _fix(graph, name)
    return [Port(name, array.dtype, array.shape) for name, array in graph.defaults.items()]


def _shown(node: Node, name: str) -> Hashable:
    """Which node reads a value, and as what."""
    return name, node.op, node.domain, tuple(i for i, one in enumerate(node.inputs) if one == name), tuple(node.outputs)


def _is_open(node: Node, facts: Mapping[str, Fact]) -> bool:
    """Is nothing that a node makes known before a call; of nodes in bodies a walk does not say."""
    return all(name in facts and facts[name].const is None for name in node.outputs if name)


def _fix(graph: Graph, name: str) -> None:
    array = graph.defaults.pop(name)
    graph.baked[name] = Port(name, array.dtype, array.shape)
    read = {port.name for g in graph.graphs() for port in g.outputs}
    if name not in read and not any(name in node.inputs for node in graph.walk()):
        graph.consts.pop(name, None)
