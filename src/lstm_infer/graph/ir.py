"""The graph between importer and plan: plain data, no protobuf, no kernels.

A value is named by a string, unique over the whole graph and its subgraphs ("" stands for an optional input
that is absent). Constants are NumPy arrays by value name. Nodes stand in an order in which every node comes
after the makers of its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from ..frozen import frozen
from .budget import Allowance

__all__ = ["Array", "AttrValue", "Graph", "Node", "Port"]

Array = NDArray[Any]
AttrValue = Union[int, float, str, list[int], list[float], list[str], Array, "Graph", list["Graph"]]


@frozen
class Port:
    """A graph input or output: name, dtype and declared shape (int, or str / None where open; None: rank unknown)."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None


@dataclass
class Node:
    """One operator call. `domain` is "" for ai.onnx; `opset` is the version of that domain the file imports."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    domain: str = ""
    opset: int = 0

    def __str__(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        return f"node {self.name!r} ({domain}{self.op}-{self.opset})"

    def subgraphs(self) -> Iterator[Graph]:
        """The graphs among its attributes."""
        for value in self.attrs.values():
            if isinstance(value, Graph):
                yield value
            elif isinstance(value, list) and value and isinstance(value[0], Graph):
                yield from value


@dataclass
class Graph:
    """Nodes in order, constants by name, and the ports. A subgraph may use values of the graphs around it."""

    name: str
    inputs: list[Port]
    outputs: list[Port]
    nodes: list[Node]
    consts: dict[str, Array] = field(default_factory=dict)
    defaults: dict[str, Array] = field(default_factory=dict)
    """Values of inputs that need not be fed (initializers that are graph inputs too)."""
    baked: dict[str, Port] = field(default_factory=dict)
    """Those that cannot be fed any more: what was made of their values is part of the graph."""
    producer: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    """What the file says of itself, under the names that onnxruntime has for it."""
    opsets: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was rewritten since it was read, one text each."""
    split_whole: set[int] = field(default_factory=set)
    """Numbers of single positions that a SplitToSequence was taken apart into, all of them read: an exporter that
    unrolls a loop over an open axis writes as many copies as its example was long."""
    signature: tuple[bytes, bytes] = (b"", b"")
    """Digests of the weights and of the graph as the file has them (importer/signature.py)."""
    fixed: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    """Input axes that stay at a size, and why: a number of the file may be that size or the model's own."""

    allowance: Allowance = field(default_factory=Allowance)
    """What folding, unrolling and walking it may cost."""

    chosen: dict[str, str] = field(default_factory=dict)
    """Of nodes, by name, that stood in a branch which a constant of the caller chose: which one, in words."""

    unrolled: int = 0
    """Steps that a loop was unrolled over whose copies stand in the graph still; 0: there is none."""

    folds: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Constants that the last walk computed, by node: see walk.folded."""

    walks: Any = field(default=None, init=False, repr=False, compare=False)
    """Its walks, while a load or an analysis goes over it: see walk/remembered.py."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "folds": {}, "walks": None}

    def walk(self) -> Iterator[Node]:
        """All nodes, those of subgraphs behind the node that holds them."""
        for node in self.nodes:
            yield node
            for sub in node.subgraphs():
                yield from sub.walk()

    def graphs(self) -> Iterator[Graph]:
        """This graph and all inside it."""
        yield self
        for node in self.nodes:
            for sub in node.subgraphs():
                yield from sub.graphs()
