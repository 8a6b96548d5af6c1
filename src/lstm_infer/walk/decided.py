"""Which inputs of a graph decide an `If`: said where the branch that they choose does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import BudgetError, LstmInferError
from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Graph, Node, Port

__all__ = ["compared_with", "say_chosen", "say_who", "who_decides", "why_there"]

LOOK = 1_000
"""What it costs to come by a node."""

_OF_SIZES = ("Shape", "Size")
"""What these give does not depend on the values of their input."""


def who_decides(graph: Graph | None, node: Node, facts: Mapping[str, Fact]) -> str:
    """Of an `If`: the integers and booleans among the inputs of the graph that its condition is computed from, with what
    they are here and what the graph compares them with; "" where there are none."""
    if graph is None:
        return ""
    n_nodes = sum(1 for _ in graph.walk())
    spend(node, 2 * LOOK * n_nodes)
    ports = [port for port in _sources(graph, node.inputs[0]) if port.dtype.kind in "iub"]
    spend(node, len(ports) * LOOK * n_nodes)
    return " and ".join(_shown(graph, port, facts) for port in ports)


def say_who(error: LstmInferError, graph: Graph | None, node: Node, branch: str, facts: Mapping[str, Fact]) -> None:
    """Add to what went wrong inside of a chosen branch who chose it: the innermost choice that an input makes."""
    if graph is None:
        return
    given = {port.name: facts[port.name] for port in graph.inputs if port.name in facts}

    def reason() -> str:
        who = who_decides(graph, node, given)
        return why_there(who, node, branch) if who else ""

    error.explain(reason)


def say_chosen(error: LstmInferError, graph: Graph, node: Node) -> None:
    """The same of a branch that `load(constants=)` chose, of which nothing but its nodes is left."""
    if graph.chosen and node.name in graph.chosen and not isinstance(error, BudgetError):
        chosen = graph.chosen[node.name]
        error.explain(lambda: chosen)


def why_there(who: str, node: Node, branch: str) -> str:
    """Why a node of a branch runs."""
    return (
        f"{who} chose the {branch} branch of {node}, in which this stands: give another value, or sizes that it takes"
    )


def compared_with(graph: Graph, name: str) -> list[int]:
    """The constants that an input is compared with, as the graph meets them: what a switch is likely set to."""
    found: dict[int, None] = {}
    for node in graph.walk():
        if name in node.inputs and node.op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
            consts = [graph.consts[v] for v in node.inputs if v in graph.consts]
            found |= {
                int(const.reshape(-1)[0]): None for const in consts if const.size == 1 and const.dtype.kind in "iu"
            }
    return list(found)


def _shown(graph: Graph, port: Port, facts: Mapping[str, Fact]) -> str:
    """An input in words."""
    fact = facts.get(port.name)
    here = ""
    if fact is not None and fact.const is not None and np.size(fact.const) == 1:
        here = f" = {np.asarray(fact.const).reshape(-1)[0]}"
    known = " or ".join(map(str, compared_with(graph, port.name)))
    return f"input {port.name!r}{here}" + (f" (the graph compares it with {known})" if known else "")


def _sources(graph: Graph, name: str) -> Iterator[Port]:
    """The inputs of the graph whose values go into this one."""
    made = {value: node for node in graph.walk() for value in node.outputs if value}
    ports = {port.name: port for port in graph.inputs}
    todo, seen = [name], set[str]()
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in made and made[value].op not in _OF_SIZES:
            node = made[value]
            todo += [*node.inputs, *(port.name for sub in node.subgraphs() for port in sub.outputs)]
        elif value in ports:
            yield ports[value]
