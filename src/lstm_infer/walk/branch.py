"""If: the taken branch where the condition is known, else a `Choice`; a branch that does not fit becomes a guard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import BudgetError, LstmInferError, OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Graph, Node
from ..ops import registry
from ..ops.control import Choice
from ..ops.registry import unsupported
from .decided import say_who, who_decides
from .scope import Scope, captures, needed

__all__ = ["walk_if"]


def walk_if(node: Node, scope: Scope) -> None:
    if not node.inputs or not node.inputs[0]:
        raise OnnxImportError(f"{node}: has no condition; the file is broken")
    cond = scope.facts[node.inputs[0]]
    graphs = [registry.subgraph(node, "else_branch"), registry.subgraph(node, "then_branch")]
    for graph in graphs:
        if len(graph.outputs) < len(node.outputs):
            raise OnnxImportError(f"{node}: a branch has {len(graph.outputs)} outputs, the node {len(node.outputs)}")
    if cond.const is not None:
        which = bool(np.asarray(cond.const).reshape(-1)[0])
        taken = graphs[which]
        try:
            scope.walk(taken, scope)
        except LstmInferError as error:
            if not isinstance(error, BudgetError):
                say_who(error, scope.graph, node, "then" if which else "else", scope.facts)
            raise
        for name, port in zip(node.outputs, taken.outputs, strict=False):
            if name:
                scope.alias(node, port.name, name)
        return
    if int(np.prod(cond.shape)) != 1:
        raise ShapeError(f"{node}: its condition has the shape {list(cond.shape)}, one value is needed")
    walked: list[Scope | None] = []
    errors: list[LstmInferError] = []
    for graph in graphs:
        inner = scope.inner()
        try:
            scope.walk(graph, inner)
            walked.append(inner)
        except LstmInferError as error:
            walked.append(None)
            errors.append(error.kept())
    if len(errors) == 2:
        raise ShapeError(f"{node}: neither branch fits these sizes; then: {errors[1]}; else: {errors[0]}") from errors[
            0
        ]
    if errors:
        _guarded(node, scope, graphs, walked, errors[0])
        return
    _choice(node, scope, graphs, walked)


def _guarded(
    node: Node, scope: Scope, graphs: Sequence[Graph], walked: Sequence[Scope | None], error: LstmInferError
) -> None:
    """One branch fits: it runs, behind a check that the condition chooses it."""
    fits = 1 if walked[0] is None else 0
    inner = walked[fits]
    assert inner is not None
    guard = f"{node.name}/chosen"
    scope.facts[guard] = scope.facts[node.inputs[0]]
    branches: tuple[list[Node] | None, list[Node] | None] = ([], None) if fits == 0 else (None, [])
    who = who_decides(scope.graph, node, scope.facts)
    cause = f"{error}{f'; {who} decides: give another value, or sizes that the branch takes' if who else ''}"
    scope.nodes.append(
        Choice(
            "If", node.name, [node.inputs[0]], [guard], {}, "", node.opset,
            branches=branches, outs=[scope.facts[guard]], cause=cause,
        )
    )  # fmt: skip
    scope.nodes += inner.nodes
    for name, port in zip(node.outputs, graphs[fits].outputs, strict=False):
        if name:
            scope.alias(node, port.name, name)


def _choice(node: Node, scope: Scope, graphs: Sequence[Graph], walked: Sequence[Scope | None]) -> None:
    outs: list[Fact] = []
    results: tuple[list[str], list[str]] = ([], [])
    for index, name in enumerate(node.outputs):
        found = []
        for graph, kept in zip(graphs, results, strict=True):
            value = graph.outputs[index].name
            kept.append(value)
            fact = scope.facts.get(value)
            if fact is None:
                raise OnnxImportError(f"{node}: output {value!r} of a branch is made by no node; the file is broken")
            found.append(fact)
        no, yes = found
        if name and (no.shape != yes.shape or no.dtype != yes.dtype):
            raise unsupported(
                node,
                f"a choice at run time between {yes.dtype}{list(yes.shape)} and {no.dtype}{list(no.shape)} (turn the "
                "input that its condition comes from into a constant: load(..., constants={...}))",
            )
        outs.append(Fact(yes.shape, yes.dtype))
        if name:
            scope.facts[name] = outs[-1]
    branches = tuple(
        [] if part is None else needed(part.nodes, kept) for part, kept in zip(walked, results, strict=True)
    )
    captured = captures(branches, [*results[0], *results[1]], scope.facts, set())
    scope.nodes.append(
        Choice(
            "If", node.name, [node.inputs[0], *captured], list(node.outputs), {}, "", node.opset,
            branches=branches, results=results, facts=scope.facts, outs=outs,  # type: ignore[arg-type]
        )
    )  # fmt: skip
