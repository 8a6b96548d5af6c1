"""How often a loop runs, and what its counters are in each iteration, where that does not depend on data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops import registry
from ..ops.control import Carried
from .graphs import source_of
from .scope import Scope
from .spec import Spec

__all__ = ["Counted", "count", "n_trips"]

COUNTED_TRIPS = 100_000
"""The end of a loop that only counts is looked for that far: by arithmetic, else (COUNTED_STEPS) iteration by iteration."""

COUNTED_STEPS = 2_000


def n_trips(spec: Spec, scope: Scope, *, walked: bool = True) -> int | None:
    """How many iterations, if it does not depend on the data."""
    if spec.start is None:
        return None
    if not spec.start or spec.most == 0:
        return 0
    if not spec.again:
        return spec.most
    if spec.node.inputs[0] and spec.most is None:
        return None
    if walked:
        again = scope.facts[spec.again].const
        if again is not None:
            return spec.most if bool(np.asarray(again).reshape(-1)[0]) else 1
    counted = count(spec.node, spec.body, spec.iter, spec.cond, spec.carried, [spec.again], scope)
    if counted is None:
        return None
    return counted.trips(spec.again, spec.most)


@dataclass
class Counted:
    """Body values that depend on the number of the iteration alone, as a function of it."""

    run: Callable[[int], list[dict[str, Array]] | None]
    vectors: Callable[[int], dict[str, Array] | None]

    def trips(self, again: str, most: int | None) -> int | None:
        """Iterations until the condition is false, at most `most`; None: too many to tell."""
        n = 16
        while True:
            n = min(n * 16, COUNTED_TRIPS if most is None else min(most, COUNTED_TRIPS))
            values = self.sequence(again, n)
            if values is None:
                return None
            false = np.flatnonzero(~values.astype(bool))
            if false.size:
                return int(false[0]) + 1
            if n == most:
                return n
            if n >= COUNTED_TRIPS:
                return None

    def sequence(self, name: str, n: int) -> Array | None:
        """The values of one scalar over n iterations."""
        vectors = self.vectors(n)
        if vectors is not None and name in vectors:
            return np.broadcast_to(vectors[name], (n,))
        steps = self.run(n) if n <= COUNTED_STEPS else None
        if steps is None:
            return None
        return np.array([step[name].reshape(-1)[0] for step in steps])


def count(
    node: Node, body: Graph, iter: str, cond: str, carried: Sequence[Carried], wanted: Sequence[str], scope: Scope
) -> Counted | None:
    """Follow values of a body that depend on nothing but the number of the iteration; None: they depend on data."""
    made = {out: n for n in body.nodes for out in n.outputs if out}
    inside = {c.inside: c for c in carried}
    changing = {c.inside for c in carried if source_of(body, c.result) != c.inside}
    outer = dict(scope.facts)
    for c in carried:
        if c.inside not in changing:
            outer[c.inside] = outer[node.inputs[c.input]]

    def known(name: str) -> bool:
        if name in body.consts:
            return True
        fact = outer.get(name)
        return name not in made and name not in changing and fact is not None and fact.const is not None

    def leaves(name: str, found: set[str], seen: set[str]) -> bool:
        """The counters a value depends on; False: it depends on data."""
        todo = [name]
        while todo:
            value = todo.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in (iter, cond) or known(value):
                continue
            if value in changing:
                found.add(value)
            elif value in made and not any(isinstance(a, Graph) for a in made[value].attrs.values()):
                todo += [v for v in made[value].inputs if v]
            else:
                return False
        return True

    counters: set[str] = set()
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        found: set[str] = set()
        if not leaves(todo.pop(), found, seen):
            return None
        for name in found - counters:
            first = outer[node.inputs[inside[name].input]]
            if first.const is None or first.const.size != 1:
                return None
            counters.add(name)
            todo.append(inside[name].result)
    nodes = [n for n in body.nodes if any(out in seen for out in n.outputs if out)]
    small = Graph(body.name, [], [], nodes, body.consts)
    firsts = {name: np.asarray(outer[node.inputs[inside[name].input]].const) for name in counters}

    def run(n: int) -> list[dict[str, Array]] | None:
        now = dict(firsts)
        steps = []
        base = {name: fact for name, fact in outer.items() if name in seen and known(name)}
        for i in range(n):
            facts = dict(base)
            facts |= {name: Fact.of(value) for name, value in now.items()}
            if iter:
                facts[iter] = Fact.of(np.array(i, np.int64))
            if cond:
                facts[cond] = Fact.of(np.array(True))
            scope.walk(small, Scope(facts, [], scope.walk))
            values = {name: facts[name].const for name in [*wanted, *(inside[c].result for c in counters)]}
            if any(value is None or value.size != 1 for value in values.values()):
                return None
            steps.append({name: value for name, value in values.items() if value is not None})
            now = {name: steps[-1][inside[name].result] for name in counters}
        return steps

    def vectors(n: int) -> dict[str, Array] | None:
        """All iterations at once, where counters go up evenly and everything is element-wise."""
        index = np.arange(n, dtype=np.int64)
        values: dict[str, Array] = {iter: index, cond: np.ones(n, bool)}
        for name in counters:
            step = _step(body, inside[name], made, known, outer)
            first = firsts[name].reshape(-1)[0]
            if step is None or firsts[name].dtype.kind not in "iu":
                return None
            values[name] = (first + index * step).astype(firsts[name].dtype)
        for name in seen:
            if known(name):
                const = body.consts[name] if name in body.consts else outer[name].const
                if const is None or const.size != 1:
                    return None
                values[name] = np.asarray(const).reshape(-1)
        for node in nodes:
            if node.op in ("Squeeze", "Unsqueeze", "Identity", "Reshape") and node.inputs[0] in values:
                values[node.outputs[0]] = values[node.inputs[0]]
                continue
            if node.domain or node.op not in _SCALAR or any(name not in values for name in node.inputs if name):
                return None
            made_of: list[Array | None] = [values[name] if name else None for name in node.inputs]
            with np.errstate(all="ignore"):
                values[node.outputs[0]] = np.asarray(registry.find(node).evaluate(node, made_of)[0])
        return values

    return Counted(run, vectors)


_SCALAR = {
    "Cast", "Add", "Sub", "Mul", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not", "Min", "Max",
    "Neg", "Where", "Abs",
}  # fmt: skip


def _step(
    body: Graph, carried: Carried, made: Mapping[str, Node], known: Callable[[str], bool], outer: Mapping[str, Fact]
) -> int | None:
    """By how much a counter goes up, if it does so evenly."""
    node = made.get(source_of(body, carried.result))
    if node is None or node.op not in ("Add", "Sub") or node.domain:
        return None
    a, b = (source_of(body, name) for name in node.inputs)
    if node.op == "Add" and b == carried.inside:
        a, b = b, a
    if a != carried.inside or not known(b):
        return None
    const = body.consts[b] if b in body.consts else outer[b].const
    if const is None or const.size != 1:
        return None
    return int(const.reshape(-1)[0]) * (1 if node.op == "Add" else -1)
