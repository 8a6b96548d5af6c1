"""A loop unrolled: its body walked once for each iteration, with names of its own each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ShapeError
from ..graph.budget import limits, spend, spent
from ..graph.fact import Fact
from ..graph.ir import Node
from ..ops.control import Scanned, Stacked
from ..ops.registry import unsupported
from .graphs import instance
from .scope import Scope
from .written import Spec, has_output

__all__ = ["TooLong", "compute", "nothing", "unroll"]


class TooLong(ShapeError):
    """A loop with more iterations than are unrolled or computed, or with too much work in them."""


COPY = 8_000
"""What a node of the copy of a body costs, and the look at what it reads, beside the walk of it."""

FOLDED_SHARE = 4
"""A loop over known values may take this part of the budget."""


def compute(spec: Spec, scope: Scope, most: int) -> None:
    """All that goes in is known: the body is walked again and again over its own values, of which the outputs are kept.

    Raises
    ------
    TooLong
        More than `most` iterations, too much work, or a value that is left to the plan.
    """
    node, facts = spec.node, scope.facts
    if not spec.start or spec.most == 0:
        _unroll_nothing(spec, scope)
        return
    work = spent() + limits().work // FOLDED_SHARE
    own = scope.apart(scope.bodies.of(spec.body).outer)
    now = {c.inside: facts[node.inputs[c.input]] for c in spec.carried}
    rows: list[list[Fact]] = [[] for _ in spec.stacked]
    i = 0
    while spec.most is None or i < spec.most:
        if i >= most:
            raise TooLong(f"{node}: would run more than {most} times; check its condition and the sizes in the file")
        own.facts.update(now)
        if spec.iter:
            own.facts[spec.iter] = Fact.of(np.array(i, np.int64))
        if spec.cond:
            own.facts[spec.cond] = Fact.of(np.array(True))
        for s in spec.scanned:
            own.facts[s.inside] = _taken(facts[node.inputs[s.input]], s, i)
        own.walk(spec.body, own)
        if own.nodes or spent() > work:
            raise TooLong(f"{node}: takes too much work to be computed before it runs")
        now = {c.inside: own.fact(node, c.result) for c in spec.carried}
        for row, t in zip(rows, spec.stacked, strict=True):
            row.append(own.fact(node, t.result))
        i += 1
        if spec.again and not bool(np.asarray(own.fact(node, spec.again).const).reshape(-1)[0]):
            break
    for c in spec.carried:
        if has_output(node, c.output):
            facts[node.outputs[c.output]] = now[c.inside]
    for found, t in zip(rows, spec.stacked, strict=True):
        facts[node.outputs[t.output]] = _stacked(node, found, t)


def unroll(spec: Spec, scope: Scope, trips: int | None, most: int, most_nodes: int) -> None:
    """The body walked once for each iteration, with names of its own each time.

    Raises
    ------
    TooLong
        More than `most` iterations.
    """
    node, facts = spec.node, scope.facts
    limit = trips if trips is not None else spec.most
    if not spec.start or limit == 0:
        _unroll_nothing(spec, scope)
        return
    now = {c.inside: node.inputs[c.input] for c in spec.carried}
    rows: list[list[str]] = [[] for _ in spec.stacked]
    n_before = len(scope.nodes)
    copying = COPY * scope.bodies.of(spec.body).n_nodes
    i = 0
    while limit is None or i < limit:
        if i >= most:
            raise TooLong(f"{node}: would run more than {most} times; check its condition and the sizes in the file")
        if len(scope.nodes) - n_before > most_nodes:
            raise unsupported(node, f"a loop that unrolls to more than {most_nodes} nodes")
        names: dict[str, str] = {}
        spend(node, copying)
        copy = instance(spec.body, f"#{node.name}.{i}", names)
        if spec.iter:
            facts[names[spec.iter]] = Fact.of(np.array(i, np.int64))
        if spec.cond:
            facts[names[spec.cond]] = Fact.of(np.array(True))
        for c in spec.carried:
            scope.alias(node, now[c.inside], names[c.inside])
        for s in spec.scanned:
            _pick(node, scope, node.inputs[s.input], s, i, names[s.inside])
        scope.walk(copy, scope)
        now = {c.inside: names.get(c.result, c.result) for c in spec.carried}
        for row, t in zip(rows, spec.stacked, strict=True):
            row.append(names.get(t.result, t.result))
        i += 1
        if spec.again:
            again = facts[names.get(spec.again, spec.again)].const
            if again is None and trips is None:
                raise unsupported(node, "a condition that depends on the data, in a loop that has to be unrolled,")
            if again is not None and not bool(np.asarray(again).reshape(-1)[0]):
                break
    for c in spec.carried:
        if has_output(node, c.output):
            scope.alias(node, now[c.inside], node.outputs[c.output])
    for row, t in zip(rows, spec.stacked, strict=True):
        _stack(node, scope, row, t)


def _unroll_nothing(spec: Spec, scope: Scope) -> None:
    """Zero iterations: the body is walked for the shapes of its results only."""
    if spec.stacked:
        copy = scope.inner()
        copy.facts = dict(scope.facts)
        for c in spec.carried:
            first = scope.facts[spec.node.inputs[c.input]]
            copy.facts[c.inside] = Fact(first.shape, first.dtype)
        for s in spec.scanned:
            whole = scope.facts[spec.node.inputs[s.input]]
            copy.facts[s.inside] = Fact(whole.shape[: s.axis] + whole.shape[s.axis + 1 :], whole.dtype)
        if spec.iter:
            copy.facts[spec.iter] = Fact((), np.dtype(np.int64))
        if spec.cond:
            copy.facts[spec.cond] = Fact((), np.dtype(np.bool_))
        scope.walk(spec.body, copy)
        for t in spec.stacked:
            scope.facts[t.result] = copy.facts[t.result]
    nothing(spec, scope)


def nothing(spec: Spec, scope: Scope) -> None:
    """A loop that never runs."""
    for c in spec.carried:
        if has_output(spec.node, c.output):
            scope.alias(spec.node, spec.node.inputs[c.input], spec.node.outputs[c.output])
    for t in spec.stacked:
        fact = scope.facts[t.result]
        axis = t.axis + (len(fact.shape) + 1) * (t.axis < 0)
        empty = np.empty((*fact.shape[:axis], 0, *fact.shape[axis:]), fact.dtype)
        scope.facts[spec.node.outputs[t.output]] = Fact.of(empty)


def _pick(node: Node, scope: Scope, source: str, s: Scanned, i: int, name: str) -> None:
    whole = scope.facts[source]
    if whole.const is not None:
        scope.facts[name] = _taken(whole, s, i)
        return
    at = whole.shape[s.axis] - 1 - i if s.reverse else i
    index = f"{name}/at"
    scope.facts[index] = Fact.of(np.array(at, np.int64))
    scope.facts[name] = Fact(whole.shape[: s.axis] + whole.shape[s.axis + 1 :], whole.dtype)
    scope.nodes.append(Node("Gather", f"{node.name}/{name}", [source, index], [name], {"axis": s.axis}, opset=13))


def _taken(whole: Fact, s: Scanned, i: int) -> Fact:
    """What an iteration sees of a known sequence."""
    assert whole.const is not None
    return Fact.of(np.take(whole.const, whole.shape[s.axis] - 1 - i if s.reverse else i, s.axis))


def _axis_of_stack(node: Node, row: Sequence[Fact], t: Stacked) -> int:
    """Where the iterations go in a scan output; all of them have one shape."""
    first = row[0]
    for fact in row:
        if fact.shape != first.shape or fact.dtype != first.dtype:
            raise ShapeError(
                f"{node}: scan output {node.outputs[t.output]!r} gets {list(first.shape)} and {list(fact.shape)}"
            )
    return t.axis + (len(first.shape) + 1) * (t.axis < 0)


def _stacked(node: Node, row: Sequence[Fact], t: Stacked) -> Fact:
    """The scan output of a loop whose values are known."""
    axis = _axis_of_stack(node, row, t)
    return Fact.of(np.stack([np.asarray(fact.const) for fact in (row[::-1] if t.reverse else row)], axis))


def _stack(node: Node, scope: Scope, row: list[str], t: Stacked) -> None:
    """The scan output of an unrolled loop."""
    facts, output = scope.facts, node.outputs[t.output]
    first, made = facts[row[0]], [facts[name] for name in row]
    axis = _axis_of_stack(node, made, t)
    if all(fact.const is not None for fact in made):
        facts[output] = _stacked(node, made, t)
        return
    if t.reverse:
        row = row[::-1]
    parts = []
    shape = (*first.shape[:axis], 1, *first.shape[axis:])
    where = f"{output}/axis"
    facts[where] = Fact.of(np.array([axis], np.int64))
    for k, name in enumerate(row):
        part = f"{output}/part{k}"
        const = facts[name].const
        facts[part] = Fact(shape, first.dtype) if const is None else Fact.of(const.reshape(shape))
        if const is None:
            scope.nodes.append(Node("Unsqueeze", part, [name, where], [part], opset=13))
        parts.append(part)
    facts[output] = Fact((*first.shape[:axis], len(row), *first.shape[axis:]), first.dtype)
    scope.nodes.append(Node("Concat", f"{node.name}/{output}", parts, [output], {"axis": axis}, opset=13))
