"""Nodes to calls: each operator of a walk lowers itself through a Builder."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from .errors import LstmInferError, UnsupportedOpError
from .graph.fact import Fact
from .graph.ir import Node
from .ops import registry
from .program.builder import Builder
from .program.draws import Draws
from .program.memory import StateLayout
from .program.store import ConstStore
from .walk.walk import Walk

__all__ = ["builder", "lower"]


def builder(
    facts: dict[str, Fact],
    store: ConstStore,
    isa: str,
    *,
    layout: StateLayout | None = None,
    draws: Mapping[str, Draws] | None = None,
    signals: int = 1,
) -> Builder:
    """A Builder whose nodes are lowered by their operators."""
    return Builder(facts, store, isa, lower_node, layout, draws or {}, signals)


def lower(walked: Walk, b: Builder) -> None:
    """All nodes of a walk."""
    for node in walked.nodes:
        b.node(node)


def lower_node(node: Node, b: Builder) -> None:
    """One node."""
    op = registry.find(node)
    live = [name for name in node.outputs if name]
    if all(b.facts[name].const is not None or prod(b.facts[name].shape) == 0 for name in live):
        for name in live:  # nothing to compute: known, or no elements
            if b.facts[name].const is None:
                b.new(name)
        return
    if op.lower is None:
        b.host(node, op.evaluate)
        return
    try:
        op.lower(node, b)
    except LstmInferError:
        raise
    except (ValueError, IndexError, OverflowError, TypeError, ZeroDivisionError) as error:
        raise UnsupportedOpError(f"{node}: {error}") from error
