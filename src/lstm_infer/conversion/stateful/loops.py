"""Loops and branches that run: a Loop with what its body reads of a sequence gathered, an If with both its branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.spec import Carried
from ...errors import ConvertError
from ...graph.fact import Fact
from ...graph.ir import Node
from ...ops.control import Carried as Loops
from ...ops.control import Choice, Repeat
from .clock import Span
from .draft import held
from .recurrent import first_or_kept

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["put_choice", "put_repeat"]


def put_repeat(em: Scene, node: Repeat, carried: Mapping[str, Carried]) -> None:
    """A loop. A state that the stream carries goes on where the last step left it."""
    _Loop(em, node, carried).put()


class _Loop:
    def __init__(self, em: Scene, node: Repeat, carried: Mapping[str, Carried]) -> None:
        self.em, self.node, self.carried = em, node, carried
        self.live = [c for c in node.carried if node.facts[c.inside].const is None]
        self.span = self._span()

    def _span(self) -> Span | None:
        """Where positions may lie outside of the signal: states stand still there."""
        em, node = self.em, self.node
        for s in node.scanned:
            name = node.inputs[s.input]
            if em.spec.time_axes.get(name) == s.axis:
                pace = em.step.pace_of(node)
                return em.clock.span(pace, em.d.facts[em.value(name)].shape[s.axis]) if em.clock.gates(pace) else None
        return None

    def put(self) -> None:
        em, d, node = self.em, self.em.d, self.node
        trips = d.const(node.trips, np.int64) if node.trips is not None else ""
        if node.trips is None and node.inputs and node.inputs[0]:
            trips = d.reshaped(em.value(node.inputs[0]), ())
        begin = [self._begin(c) for c in self.live]
        whole = {s.inside: em.value(node.inputs[s.input]) for s in node.scanned}
        for name in node.inputs:
            em.value(name)
        go = d.reshaped(em.value(node.start), ()) if node.start else d.const(True, np.bool_)
        at, on = d.names.fresh("iteration"), d.names.fresh("go_on")
        d.facts[at], d.facts[on] = Fact((), np.dtype(np.int64)), Fact((), np.dtype(np.bool_))
        kept = dict(em.at)
        with d.inside() as nodes:
            inside, results = self._body(at, on, whole)
        em.at = kept
        body = d.body(f"{node.name}/body", nodes, [at, on, *inside], results)
        self._outputs(trips, go, begin, body, [d.facts[name] for name in results[1:]])

    def _begin(self, c: Loops) -> str:
        """What a carried value begins with."""
        em, node = self.em, self.node
        init = em.value(node.inputs[c.input])
        found = self.carried.get(f"s{c.output}")
        if found is None:
            return init
        fact = held(node.facts[c.inside])
        public = em.public(found.label, fact.shape)
        const = em.d.facts[init].const
        first = np.zeros((), fact.dtype) if const is None else np.broadcast_to(const, fact.shape).reshape(public)
        carry = em.states.hidden(found.label, "state", public, fact.dtype, first)
        state = em.d.reshaped(em.carry_in(carry), fact.shape)
        return state if const is not None else first_or_kept(em, init, state)

    def _body(self, at: str, on: str, whole: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Its inputs behind the first two, and its outputs."""
        em, d, node = self.em, self.em.d, self.node
        if node.iter:
            em.bind(node.iter, at)
        inside = []
        for c in self.live:
            name = d.names.fresh(f"{c.inside}/in")
            d.facts[name] = held(node.facts[c.inside])._replace(const=None)
            em.bind(c.inside, name)
            inside.append(name)
        for s in node.scanned:
            fact = held(node.facts[s.inside])
            if fact.const is None:
                n = d.facts[whole[s.inside]].shape[s.axis]
                place = d.same("Sub", [d.const(n - 1, np.int64), at]) if s.reverse else at
                made = d.op("Gather", [whole[s.inside], place], fact.shape, fact.dtype, {"axis": s.axis})
                em.bind(s.inside, made)
        for inner in node.body:
            em.node(inner)
        goes = em.value(node.again) if node.again else on
        results = [d.alias(d.reshaped(goes, ()), d.names.fresh("going_on"))]
        live = d.op("Gather", [self.span.mask, at], (), np.bool_) if self.span else ""
        for c, name in zip(self.live, inside, strict=True):
            made = em.value(c.result)
            made = d.same("Where", [live, made, name]) if live else made
            results.append(d.alias(made, d.names.fresh(f"{c.result}/out")))
        results += [d.alias(em.value(t.result), d.names.fresh(f"{t.result}/row")) for t in node.stacked]
        return inside, results

    def _outputs(self, trips: str, go: str, begin: list[str], body: object, facts: list[Fact]) -> None:
        em, d, node = self.em, self.em.d, self.node
        names = [d.names.fresh(f"{node.name}/{i}") for i in range(len(facts))]
        rows = [
            fact if i < len(self.live) else fact._replace(shape=(node.trips or 0, *fact.shape))
            for i, fact in enumerate(facts)
        ]
        loop = Node("Loop", d.names.fresh(node.name or "Loop"), [trips, go, *begin], names, {"body": body}, "", d.opset)  # type: ignore[dict-item]
        d.put(loop, rows)
        for c, name in zip(self.live, names, strict=False):
            if c.output < len(node.outputs):
                em.bind(node.outputs[c.output], name)
            found = self.carried.get(f"s{c.output}")
            if found is not None:
                carry = em.states.found[found.label]
                carry.value = d.reshaped(name, carry.shape)
        for t, name in zip(node.stacked, names[len(self.live) :], strict=True):
            rank = len(d.facts[name].shape)
            made = d.transposed(name, [*range(1, t.axis + 1), 0, *range(t.axis + 1, rank)])
            if t.reverse:
                fact = d.facts[made]
                ends = [-1], [np.iinfo(np.int64).min], [t.axis], [-1]
                made = d.op("Slice", [made, *(d.const(v, np.int64) for v in ends)], fact.shape, fact.dtype)
            em.bind(node.outputs[t.output], made)


def put_choice(em: Scene, node: Choice) -> None:
    """A branch that is chosen at run time. Where one branch does not fit the sizes, the other one runs."""
    d, cond = em.d, em.value(node.inputs[0])
    if None in node.branches:
        raise ConvertError(
            f"{node}: one of its branches does not fit the sizes of a step; where an input chooses, give it by constants= "
            f"({node.cause})"
        )
    cond = d.reshaped(cond, ())
    for name in node.inputs:
        em.value(name)
    bodies, facts = [], []
    for nodes, results in zip(node.branches, node.results, strict=True):
        kept = dict(em.at)
        with d.inside() as made:
            for inner in nodes or ():
                em.node(inner)
            wanted = [r for r, out in zip(results, node.outputs, strict=True) if out]
            outs = [d.alias(em.value(r), d.names.fresh(f"{r}/chosen")) for r in wanted]
        em.at = kept
        facts = [d.facts[name] for name in outs]
        bodies.append(d.body(f"{node.name}/branch", made, [], outs))
    if not bodies:
        raise ConvertError(f"{node}: has no branches")
    names = [em.new(name) for name in node.outputs if name]
    attrs = {"then_branch": bodies[1], "else_branch": bodies[0]}
    d.put(Node("If", d.names.fresh(node.name or "If"), [cond], names, attrs, "", d.opset), facts)  # type: ignore[arg-type]
