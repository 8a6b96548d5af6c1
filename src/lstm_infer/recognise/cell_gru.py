"""One step of a GRU: h' = (1 - z) * n + z * h, however the blend is written, the reset before or after the product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..graph.ir import Node
from .affine import Act, Affine, Leaf
from .cell import MOVES, Cell, Matcher

__all__ = ["GruMatcher"]


class GruMatcher(Matcher):
    """Looks at an Add or a Sub that may be h'."""

    def gru(self, node: Node) -> Cell | None:
        for z_name, n_name, h_name, flipped, steps in self._blends(node):
            z, n = self.read.act(z_name), self._candidate(n_name)
            if z is None or n is None or len(z.pre.out) != 1 or (flipped and z.name != "Sigmoid"):
                continue
            cell = self._gru(node, z, n, h_name, flipped, steps)
            if cell is not None:
                return cell
        return None

    def _blends(self, node: Node) -> Iterator[tuple[str, str, str, bool, list[Node]]]:
        """(z, n, h, z is the share of n, nodes) for every reading of a blend of two values."""
        edit = self.edit
        sides = [(node.inputs[0], node.inputs[1])]
        if node.op == "Add":
            sides.append((node.inputs[1], node.inputs[0]))
        else:  # n - z * (n - h)
            sides = [(node.inputs[1], node.inputs[0])]
        for product, other in sides:
            trail = [node]
            pair = self.factors(product, trail)
            if pair is None:
                continue
            for z, d in (pair, pair[::-1]):
                steps = list(trail)
                diff = edit.maker.get(edit.root(d, steps))
                if diff is None or diff.op != "Sub" or diff.domain:
                    continue
                a, b = diff.inputs if node.op == "Add" else diff.inputs[::-1]
                if edit.root(b) == edit.root(other):  # other + z * (a - other)
                    yield z, b, a, False, [*steps, diff]
                    yield z, a, b, True, [*steps, diff]
            if node.op == "Sub":
                continue
            rest = list(trail)
            second = self.factors(other, rest)
            if second is None:
                continue
            for m, n in (second, second[::-1]):
                steps = list(rest)
                inner = self.one_minus(m, steps)
                if inner is None:
                    continue
                for z, h in (pair, pair[::-1]):
                    if edit.root(z) == edit.root(inner):
                        yield z, n, h, False, steps
                        yield z, h, n, True, steps

    def _candidate(self, name: str) -> tuple[str, tuple[float, ...], str, frozenset[int]] | None:
        trail: list[Node] = []
        found = self.read.act_on(self.edit.root(name, trail))
        return found and (found[0], found[1], found[2], found[3] | {id(n) for n in trail})

    def _gru(
        self, node: Node, z: Act, n: tuple[str, tuple[float, ...], str, frozenset[int]], h_name: str, flipped: bool,
        steps: list[Node],
    ) -> Cell | None:  # fmt: skip
        size, out = z.pre.out[0], node.outputs[0]
        if not self.alike(out, h_name, size) or not self.fits(out):
            return None
        h = self.read.leaf(h_name)
        found = self._reset_after(n[2]) or self._reset_before(n[2], h)
        if found is None:
            return None
        r, plain, rest, inside = found
        if (r.name, r.params) != (z.name, z.params) or r.pre.out != z.pre.out or plain.out != z.pre.out:
            return None
        zs = z.pre.scale(np.float32(-1)) if flipped else z.pre
        nodes = {id(s) for s in steps} | z.nodes | n[3] | inside | r.nodes | plain.nodes
        nodes |= rest.nodes if rest is not None else set()
        cell = Cell("GRU", size, out, "", [(z.name, z.params), (n[0], n[1])], {"z": zs, "r": r.pre, "h": plain}, rest,
                    nodes, h, reset=int(rest is not None))  # fmt: skip
        if rest is not None and (set(rest.terms) != {h} or h in plain.terms):
            return None
        return cell if any(h in gate.terms for gate in (z.pre, r.pre)) and self.matrices(cell, h) else None

    def _reset_after(self, name: str) -> tuple[Act, Affine, Affine, set[int]] | None:
        """sum + r * (h R + b): the sum, and what r multiplies."""
        terms, nodes = self.summands(name)
        for k, term in enumerate(terms):
            trail: list[Node] = []
            pair = self.factors(term, trail)
            if pair is None:
                continue
            for r_name, rest_name in (pair, pair[::-1]):
                r, rest = self.read.act(r_name), self.read.affine(rest_name)
                if r is None or rest is None:
                    continue
                others = [self.read.affine(t) or self._constant(t, rest.out) for i, t in enumerate(terms) if i != k]
                if any(o is None or o.out != rest.out for o in others):
                    continue
                plain = Affine({}, None, rest.out, frozenset())
                for other in others:
                    assert other is not None
                    plain = plain.sum(other)
                return r, plain, rest, nodes | {id(n) for n in trail}
        return None

    def _constant(self, name: str, out: tuple[int, ...]) -> Affine | None:
        const = self.known.const(name)
        if const is None or const.size not in (1, out[0]):
            return None
        return Affine({}, np.broadcast_to(const.reshape(-1), out).astype(np.float32), out, frozenset())

    def _reset_before(self, name: str, h: Leaf) -> tuple[Act, Affine, None, set[int]] | None:
        """A sum in which r * h stands for the state."""
        pre = self.read.affine(name)
        for leaf in pre.terms if pre is not None else ():
            trail: list[Node] = []
            pair = None if leaf.axis else self.factors(leaf.base, trail)
            for r_name, other in (pair, pair[::-1]) if pair else ():
                r = self.read.act(r_name)
                if r is not None and self.read.leaf(other) == h and pre is not None and h not in pre.terms:
                    terms = {h if t == leaf else t: m for t, m in pre.terms.items()}
                    nodes = {id(n) for n in trail} | self._joined(leaf.base)
                    return r, replace(pre, terms=terms), None, nodes
        return None

    def _joined(self, name: str) -> set[int]:
        """The Concat and moves that carry r * h to its product."""
        found: set[int] = set()
        todo = [name]
        while todo:
            for reader in self.edit.readers.get(todo.pop(), []):
                if reader.op in MOVES and id(reader) not in found:
                    found.add(id(reader))
                    todo += reader.outputs
        return found
