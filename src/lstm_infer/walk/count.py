"""How often a loop runs, and what its counters are in each iteration, where that does not depend on data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops import registry
from ..ops.control import Carried
from .graphs import makers_in, source_of
from .scope import Held, Scope
from .written import Spec

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
    found = _Followed(node, body, iter, cond, carried, wanted, scope)
    return Counted(found.run, found.vectors) if found.follow() else None


_SCALAR = {
    "Cast", "Add", "Sub", "Mul", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not", "Min", "Max",
    "Neg", "Where", "Abs",
}  # fmt: skip


class _Followed:
    """The part of a body that some of its values depend on."""

    def __init__(
        self,
        node: Node,
        body: Graph,
        iter: str,
        cond: str,
        carried: Sequence[Carried],
        wanted: Sequence[str],
        scope: Scope,
    ) -> None:
        self.node, self.body, self.iter, self.cond = node, body, iter, cond
        self.wanted, self.scope = wanted, scope
        self.made = makers_in(body)
        self.inside = {c.inside: c for c in carried}
        self.changing = {c.inside for c in carried if source_of(self.made, c.result) != c.inside}
        self.outer = dict(scope.facts)
        for c in carried:
            if c.inside not in self.changing:
                self.outer[c.inside] = self.outer[node.inputs[c.input]]
        self.counters: set[str] = set()
        self.seen: set[str] = set()
        self.nodes: list[Node] = []

    def known(self, name: str) -> bool:
        """Is it one number or array in every iteration."""
        if name in self.body.consts:
            return True
        fact = self.outer.get(name)
        return name not in self.made and name not in self.changing and fact is not None and fact.const is not None

    def content(self, name: str) -> Array | None:
        """Of what is known."""
        return self.body.consts[name] if name in self.body.consts else self.outer[name].const

    def follow(self) -> bool:
        """Find the counters, and the nodes between them and what is wanted; False: something depends on data."""
        todo = list(self.wanted)
        while todo:
            found = self._leaves(todo.pop())
            if found is None:
                return False
            for name in found - self.counters:
                first = self._first(name)
                if first is None or first.size != 1:
                    return False
                self.counters.add(name)
                todo.append(self.inside[name].result)
        self.nodes = [n for n in self.body.nodes if any(out in self.seen for out in n.outputs if out)]
        return True

    def _leaves(self, name: str) -> set[str] | None:
        """The counters that a value depends on; None: it depends on data."""
        found: set[str] = set()
        todo = [name]
        while todo:
            value = todo.pop()
            if value in self.seen:
                continue
            self.seen.add(value)
            if value in (self.iter, self.cond) or self.known(value):
                continue
            if value in self.changing:
                found.add(value)
            elif value in self.made and not any(isinstance(a, Graph) for a in self.made[value].attrs.values()):
                todo += [v for v in self.made[value].inputs if v]
            else:
                return None
        return found

    def _first(self, counter: str) -> Array | None:
        return self.outer[self.node.inputs[self.inside[counter].input]].const

    def _firsts(self) -> dict[str, Array]:
        """What the counters start from."""
        return {name: np.asarray(self._first(name)) for name in self.counters}

    def run(self, n: int) -> list[dict[str, Array]] | None:
        """Iteration by iteration."""
        now = self._firsts()
        small = Graph(self.body.name, [], [], self.nodes, self.body.consts)
        steps = []
        base = {name: fact for name, fact in self.outer.items() if name in self.seen and self.known(name)}
        results = {name: self.inside[name].result for name in self.counters}
        for i in range(n):
            facts = dict(base)
            facts |= {name: Fact.of(value) for name, value in now.items()}
            if self.iter:
                facts[self.iter] = Fact.of(np.array(i, np.int64))
            if self.cond:
                facts[self.cond] = Fact.of(np.array(True))
            self.scope.walk(small, replace(self.scope, facts=facts, nodes=[], held=Held()))
            values = {name: facts[name].const for name in [*self.wanted, *results.values()]}
            if any(value is None or value.size != 1 for value in values.values()):
                return None
            steps.append({name: value for name, value in values.items() if value is not None})
            now = {name: steps[-1][result] for name, result in results.items()}
        return steps

    def vectors(self, n: int) -> dict[str, Array] | None:
        """All iterations at once, where counters go up evenly and everything is element-wise."""
        values = self._leaf_vectors(n)
        if values is None:
            return None
        for node in self.nodes:
            if node.op in ("Squeeze", "Unsqueeze", "Identity", "Reshape") and node.inputs[0] in values:
                values[node.outputs[0]] = values[node.inputs[0]]
                continue
            if node.domain or node.op not in _SCALAR or any(name not in values for name in node.inputs if name):
                return None
            made_of: list[Array | None] = [values[name] if name else None for name in node.inputs]
            with np.errstate(all="ignore"):
                values[node.outputs[0]] = np.asarray(registry.find(node).evaluate(node, made_of)[0])
        return values

    def _leaf_vectors(self, n: int) -> dict[str, Array] | None:
        """The counters in n iterations, and the numbers that are one in all."""
        index = np.arange(n, dtype=np.int64)
        values: dict[str, Array] = {self.iter: index, self.cond: np.ones(n, bool)}
        for name, first in self._firsts().items():
            step = self._goes_up(self.inside[name])
            if step is None or first.dtype.kind not in "iu":
                return None
            values[name] = (first.reshape(-1)[0] + index * step).astype(first.dtype)
        for name in self.seen:
            if self.known(name):
                const = self.content(name)
                if const is None or const.size != 1:
                    return None
                values[name] = np.asarray(const).reshape(-1)
        return values

    def _goes_up(self, carried: Carried) -> int | None:
        """By how much a counter goes up, if it does so evenly."""
        node = self.made.get(source_of(self.made, carried.result))
        if node is None or node.op not in ("Add", "Sub") or node.domain:
            return None
        a, b = (source_of(self.made, name) for name in node.inputs)
        if node.op == "Add" and b == carried.inside:
            a, b = b, a
        if a != carried.inside or not self.known(b):
            return None
        const = self.content(b)
        if const is None or const.size != 1:
            return None
        return int(const.reshape(-1)[0]) * (1 if node.op == "Add" else -1)
