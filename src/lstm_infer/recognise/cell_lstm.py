"""One step of an LSTM: c' = f * c + i * g, h' = o * H(c')."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.ir import Node
from .affine import Act
from .cell import Cell, Matcher

__all__ = ["LstmMatcher"]


class LstmMatcher(Matcher):
    """Looks at an Add that may be c'."""

    def lstm(self, node: Node) -> Cell | None:
        trail = [node]
        pairs = [self.factors(name, trail) for name in node.inputs]
        if pairs[0] is None or pairs[1] is None:
            return None
        for keep, write in ((pairs[0], pairs[1]), (pairs[1], pairs[0])):
            for f_name, c_name in (keep, keep[::-1]):
                for i_name, g_name in (write, write[::-1]):
                    gates = self._gates(f_name, i_name, g_name, c_name)
                    cell = gates and self._lstm(node, trail, c_name, *gates)
                    if cell:
                        return cell
        return None

    def _gates(self, f_name: str, i_name: str, g_name: str, c_name: str) -> tuple[Act, Act, Act] | None:
        """f, i and g; f and i may be coupled: one is 1 minus the other."""
        f, i, g = self._gate(f_name, c_name), self._gate(i_name, c_name), self.read.act(g_name)
        i = i or (f and self._rest_of(i_name, f_name, f))
        f = f or (i and self._rest_of(f_name, i_name, i))
        return (f, i, g) if f and i and g else None

    def _gate(self, name: str, c_name: str) -> Act | None:
        """An activation of a sum; c times a constant for each unit, a peephole, may be in that sum."""
        plain = self.read.act(name)
        found = None if plain is not None else self.read.act_on(self.edit.root(name))
        if found is None:
            return plain
        kind, params, value, nodes = found
        terms, more = self.summands(value)
        peeps = {k: peep for k, term in enumerate(terms) if (peep := self._peephole(term, c_name))}
        sums = [self.read.affine(term) for k, term in enumerate(terms) if k not in peeps]
        if len(peeps) != 1 or len(sums) != 1 or sums[0] is None:
            return None
        ((row, product),) = peeps.values()
        trail: list[Node] = []
        self.edit.root(name, trail)
        ids = nodes | more | product | sums[0].nodes | {id(n) for n in trail}
        return Act(kind, params, sums[0], frozenset(ids), row)

    def _peephole(self, name: str, c_name: str) -> tuple[Any, set[int]] | None:
        """Weights and nodes of c times a row of constants, or times one for all units."""
        trail: list[Node] = []
        pair = self.factors(name, trail)
        for row_name, state in (pair, pair[::-1]) if pair else ():
            row = self.known.const(row_name)
            if row is None or self.edit.root(state, trail) != self.edit.root(c_name):
                continue
            size = self.known.shapes(c_name)[0][-1]
            if row.size == 1 or row.size == row.shape[-1] == size:
                return np.broadcast_to(row.reshape(-1), size), {id(n) for n in trail}
        return None

    def _rest_of(self, name: str, of_name: str, of: Act) -> Act | None:
        """1 - sigmoid(z) is sigmoid(-z)."""
        trail: list[Node] = []
        inner = self.one_minus(name, trail)
        if inner is None or of.name != "Sigmoid" or self.edit.root(inner, trail) != self.edit.root(of_name):
            return None
        row = None if of.peephole is None else -of.peephole
        return replace(of, pre=of.pre.scale(np.float32(-1)), nodes=of.nodes | {id(n) for n in trail}, peephole=row)

    def _lstm(self, node: Node, trail: list[Node], c_name: str, f: Act, i: Act, g: Act) -> Cell | None:
        edit, c_out = self.edit, node.outputs[0]
        if f.pre.out != i.pre.out or i.pre.out != g.pre.out or len(f.pre.out) != 1:
            return None
        if not self.alike(c_out, c_name, f.pre.out[0]):
            return None
        for user in edit.users(c_out):
            for squashed in user.outputs:
                found = edit.act_op(user) and self.read.act_on(squashed)
                if not found:
                    continue
                for last in edit.users(squashed):
                    made = self._output(last, squashed, c_out)
                    if made is None:
                        continue
                    steps, o = made
                    if not (f.name, f.params) == (i.name, i.params) == (o.name, o.params) or o.pre.out != f.pre.out:
                        continue
                    nodes = {id(n) for n in (*trail, *steps, user)} | found[3]
                    nodes |= f.nodes | i.nodes | g.nodes | o.nodes
                    acts = [(f.name, f.params), (g.name, g.params), (found[0], found[1])]
                    gates = {"i": i.pre, "o": o.pre, "f": f.pre, "c": g.pre}
                    cell = Cell("LSTM", f.pre.out[0], last.outputs[0], c_out, acts, gates, None, nodes)
                    cell.c = edit.root(c_name)
                    cell.peepholes = {
                        k: a.peephole for k, a in (("i", i), ("o", o), ("f", f)) if a.peephole is not None
                    }
                    if len(cell.leaves()) > 1 and self.candidates(cell) and self.fits(cell.h_out):
                        return cell
        return None

    def _output(self, node: Node, squashed: str, c_out: str) -> tuple[list[Node], Act] | None:
        """o * H(c')."""
        if node.op != "Mul" or node.domain:
            return None
        for a, b in (node.inputs, node.inputs[::-1]):
            trail: list[Node] = [node]
            if self.edit.root(a, trail) == squashed:
                o = self._gate(b, c_out)
                if o is not None:
                    return trail, o
        return None
