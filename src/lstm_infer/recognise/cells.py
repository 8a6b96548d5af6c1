"""Cells that an exporter took apart: one step of an LSTM, GRU or RNN in plain nodes becomes the operator with T = 1.

    LSTM   c' = f * c + i * g        h' = o * H(c')            i f o g: activations of x W + h R + b,
                                                               peepholes too; i may be 1 - f, or f be 1 - i
    GRU    h' = (1 - z) * n + z * h, however it is written     z r: the same; n = G(x W + r * (h R + b) + b)
                                                               or G(x W + (r * h) R + b)
    RNN    h' = G(x W + h R + b), where h' is known to come back as h

Which slice plays which role is read from these equations alone (affine.py reads the sums), so gate orders, joint or
separate products and operand orders make no difference. A cell stays as it is where a value inside it is read from
outside, where its weights are computed from the data, or where nothing tells its input from its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import numpy as np

from ..analysis.names import affinity
from ..graph.ir import Array, Node
from ..ops import recurrent
from .affine import Act, Affine, Leaf, Reader
from .edit import Editor

__all__ = ["Cell", "Context", "from_step", "rewrite_cells", "sequence", "to_step"]

_ORDER = {"LSTM": "iofc", "GRU": "zrh", "RNN": "h"}
_MOVES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Concat", "Split", "Slice", "Gather",
          "Cast"}  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What else is known of the states of a graph."""

    back: Mapping[str, str] = field(default_factory=dict)
    """Graph input to the graph output that comes back as its next value: certain (bodies of Scan, load(states=))."""
    outputs: tuple[str, ...] = ()
    """Graph outputs where `back` is not known: names may then tell a state from an input."""


@dataclass
class Cell:
    """One step that was recognised."""

    op: str
    size: int
    h_out: str
    c_out: str
    acts: list[tuple[str, tuple[float, ...]]]
    gates: dict[str, Affine]
    rest: Affine | None
    """GRU with linear_before_reset: the part of the candidate that r multiplies."""
    nodes: set[int]
    h: Leaf | None = None
    c: str = ""
    reset: int = 0
    peepholes: dict[str, Array] = field(default_factory=dict)

    def leaves(self) -> list[Leaf]:
        """All sources in the order of first use, the reset state of a GRU not among them."""
        found: dict[Leaf, None] = {}
        for affine in (*self.gates.values(), *([self.rest] if self.rest else [])):
            found.update(dict.fromkeys(affine.terms))
        return list(found)


def rewrite_cells(edit: Editor, context: Context, *, shared: bool) -> list[str]:
    """Replace cells in place; returns one text each.

    shared: also cells whose input product is computed for a whole sequence elsewhere; the caller rolls those up, or
    else undoes it.
    """
    finder = _Finder(edit, context)
    texts: list[str] = []
    nodes = {id(node): node for node in edit.graph.nodes}
    for cell in finder.cells():
        alone = _alone(edit, cell, nodes)
        if not alone or (finder.commuted(cell) and not shared):
            continue
        inside = [nodes[i] for i in cell.nodes]
        texts.append(_text(cell, inside))
        _emit(edit, cell, inside)
        for name in (name for node in inside for name in node.outputs if name not in (cell.h_out, cell.c_out)):
            for reader in edit.readers.get(name, []):
                if id(reader) not in cell.nodes:
                    edit.settle(reader)
        edit.drop(inside)
    if texts:
        edit.commit()
    return texts


def _alone(edit: Editor, cell: Cell, nodes: Mapping[int, Node]) -> bool:
    """Is nothing inside the cell read from outside."""
    for number in cell.nodes:
        if number in edit.gone:
            return False
        for name in nodes[number].outputs:
            if not name or name in (cell.h_out, cell.c_out):
                continue
            if name in edit.outputs:
                return False
            for reader in edit.readers.get(name, []):
                if id(reader) not in cell.nodes and not edit.is_settled(reader):
                    return False
    return True


def _text(cell: Cell, inside: list[Node]) -> str:
    levels = [node.name.split("/")[:-1] for node in inside]
    common = takewhile(lambda level: len(set(level)) == 1, zip(*levels, strict=False))
    where = "/".join(level[0] for level in common)
    ops = Counter(node.op for node in inside)
    shown = ", ".join(f"{n} {op}" for op, n in sorted(ops.items()))
    return f"{where or cell.h_out}: {cell.op} cell of {cell.size} units (from {shown})"


class _Finder:
    """Looks at every node that may end a cell."""

    def __init__(self, edit: Editor, context: Context) -> None:
        self.edit, self.known, self.context = edit, edit.known, context
        self.read = Reader(edit)
        self.origins: dict[str, str] = {}
        self.rnn: dict[str, Act] = {}
        self.fed: dict[str, list[str]] = {}

    def commuted(self, cell: Cell) -> bool:
        """Is an input a step of a sequence that only a product over the whole sequence reads."""
        return any(leaf.axis and not leaf.keep for leaf in cell.leaves())

    def cells(self) -> Iterator[Cell]:
        """All cells, in graph order; LSTM and GRU before RNN, which any layer of two inputs looks like."""
        used: set[int] = set()
        found: list[Cell] = []
        for node in self.edit.graph.nodes:
            if node.domain or node.op not in ("Add", "Sub") or not self.known.is_f32(node.outputs[0]):
                continue
            cell = (self.lstm(node) if node.op == "Add" else None) or self.gru(node)
            if cell is not None and not used & cell.nodes:
                used |= cell.nodes
                found.append(cell)
        yield from self._with_states(found)
        for node in self.edit.graph.nodes:
            if id(node) in used or node.domain or len(node.outputs) != 1 or not self.known.is_f32(node.outputs[0]):
                continue
            if self.edit.act_op(node):
                act = self.read.act(node.outputs[0])
                if act is None or len(act.pre.out) != 1:
                    continue
                if len(act.pre.terms) > 1 and self._fits(node.outputs[0]):
                    self.rnn[node.outputs[0]] = act
                    for leaf in act.pre.terms:
                        if not leaf.axis:
                            self.fed.setdefault(leaf.base, []).append(node.outputs[0])
        for name in list(self.rnn):
            cell = self.simple(name)
            if cell is not None and not used & cell.nodes:
                used |= cell.nodes
                yield cell

    def _with_states(self, found: list[Cell]) -> Iterator[Cell]:
        """The cells whose state is told from their input; the first of an unrolled layer by the matrices of the next."""
        after = {cell.c: cell for cell in found if cell.c}
        for cell in reversed(found):
            if cell.h is not None:
                continue
            behind = after.get(cell.c_out)
            same = []
            if behind is not None and behind.h is not None:
                r = behind.gates["i"].terms.get(behind.h)
                mine = cell.gates["i"].terms
                same = [x for x in self._candidates(cell) if r is not None and x in mine and _same(mine[x], r)]
            cell.h = same[0] if len(same) == 1 else self.state_of(cell)
        return (cell for cell in found if cell.h is not None)

    # ---- LSTM -------------------------------------------------------------------------------------------

    def factors(self, name: str, trail: list[Node]) -> tuple[str, str] | None:
        """The operands of a product."""
        node = self.edit.maker.get(self.edit.root(name, trail))
        if node is None or node.op != "Mul" or node.domain:
            return None
        trail.append(node)
        return node.inputs[0], node.inputs[1]

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
        terms, more = self._summands(value)
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
        """Weights and nodes of c times a row of constants."""
        trail: list[Node] = []
        pair = self.factors(name, trail)
        for row_name, state in (pair, pair[::-1]) if pair else ():
            row = self.known.const(row_name)
            if row is None or self.edit.root(state, trail) != self.edit.root(c_name):
                continue
            if row.size == row.shape[-1] == self.known.shapes(c_name)[0][-1]:
                return row.reshape(-1), {id(n) for n in trail}
        return None

    def _rest_of(self, name: str, of_name: str, of: Act) -> Act | None:
        """1 - sigmoid(z) is sigmoid(-z)."""
        trail: list[Node] = []
        inner = self._one_minus(name, trail)
        if inner is None or of.name != "Sigmoid" or self.edit.root(inner, trail) != self.edit.root(of_name):
            return None
        row = None if of.peephole is None else -of.peephole
        return replace(of, pre=of.pre.scale(np.float32(-1)), nodes=of.nodes | {id(n) for n in trail}, peephole=row)

    def _one_minus(self, name: str, trail: list[Node]) -> str | None:
        """z of 1 - z, also where it is written as -z + 1."""
        node = self.edit.maker.get(self.edit.root(name, trail))
        if node is None or node.domain or node.op not in ("Sub", "Add"):
            return None
        trail.append(node)
        if node.op == "Sub":
            return node.inputs[1] if self._is_one(node.inputs[0]) else None
        for one, minus in (node.inputs, node.inputs[::-1]):
            negated = self.edit.maker.get(self.edit.root(minus, trail)) if self._is_one(one) else None
            if negated is not None and negated.op == "Neg" and not negated.domain:
                trail.append(negated)
                return negated.inputs[0]
        return None

    def _is_one(self, name: str) -> bool:
        const = self.known.const(name)
        return const is not None and bool(np.all(const == 1))

    def _lstm(self, node: Node, trail: list[Node], c_name: str, f: Act, i: Act, g: Act) -> Cell | None:
        edit, c_out = self.edit, node.outputs[0]
        if f.pre.out != i.pre.out or i.pre.out != g.pre.out or len(f.pre.out) != 1:
            return None
        if not self._alike(c_out, c_name, f.pre.out[0]):
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
                    if len(cell.leaves()) > 1 and self._candidates(cell) and self._fits(cell.h_out):
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

    def _alike(self, out: str, name: str, size: int) -> bool:
        """Is a value a whole state of the size of `out`: nothing is broadcast."""
        known = self.known
        return known.is_f32(name) and known.lead(name) == known.lead(out) and known.shapes(name)[0][-1] == size

    def _fits(self, out: str) -> bool:
        """At most one axis besides the units is free: the batch."""
        return all(len(lead) <= 1 for lead in self.known.lead(out))

    # ---- GRU --------------------------------------------------------------------------------------------

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
                inner = self._one_minus(m, steps)
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
        if not self._alike(out, h_name, size) or not self._fits(out):
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
        return cell if any(h in gate.terms for gate in (z.pre, r.pre)) and self._matrices(cell, h) else None

    def _reset_after(self, name: str) -> tuple[Act, Affine, Affine, set[int]] | None:
        """sum + r * (h R + b): the sum, and what r multiplies."""
        terms, nodes = self._summands(name)
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

    def _summands(self, name: str, depth: int = 0) -> tuple[list[str], set[int]]:
        trail: list[Node] = []
        node = self.edit.maker.get(self.edit.root(name, trail))
        if depth > 4 or node is None or node.op != "Add" or node.domain or self.read.affine(name) is not None:
            return [name], set()
        nodes = {id(n) for n in (*trail, node)}
        found: list[str] = []
        for side in node.inputs:
            terms, more = self._summands(side, depth + 1)
            found += terms
            nodes |= more
        return found, nodes

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
                if reader.op in _MOVES and id(reader) not in found:
                    found.add(id(reader))
                    todo += reader.outputs
        return found

    # ---- RNN --------------------------------------------------------------------------------------------

    def simple(self, name: str) -> Cell | None:
        act = self.rnn[name]
        cell = Cell("RNN", act.pre.out[0], name, "", [(act.name, act.params)], {"h": act.pre}, None, set(act.nodes))
        cands = self._candidates(cell)
        before = [leaf for leaf in cands if self._follows(leaf, act, cands)]
        sure = [leaf for leaf in cands if self._comes_back(leaf, cell)]
        if len(before) == 1:
            cell.h = before[0]
        elif len(sure) == 1:
            cell.h = sure[0]
        elif self._is_followed(name, act):
            # the first step of an unrolled layer: the same matrix as that of the steps behind it
            for leaf in cands:
                if any(_same(act.pre.terms[leaf], self.rnn[u].pre.terms[Leaf(name)]) for u in self.fed.get(name, ())):
                    cell.h = leaf
        return cell if cell.h is not None and self._matrices(cell, cell.h) else None

    def _follows(self, leaf: Leaf, act: Act, cands: list[Leaf]) -> bool:
        """Is the source the output of a step with the same matrices."""
        before = self.rnn.get(leaf.base) if not leaf.axis else None
        return before is not None and any(_same(m, act.pre.terms[leaf]) for m in before.pre.terms.values())

    def _is_followed(self, name: str, act: Act) -> bool:
        later = [self.rnn[u].pre.terms[Leaf(name)] for u in self.fed.get(name, ())]
        return any(_same(m, r) for m in act.pre.terms.values() for r in later)

    # ---- which source is the state ----------------------------------------------------------------------

    def _candidates(self, cell: Cell) -> list[Leaf]:
        found = []
        for leaf in cell.leaves():
            widths = {len(g.terms[leaf]) for g in cell.gates.values() if leaf in g.terms}
            if widths == {cell.size} and self._lead(leaf) == self.known.lead(cell.h_out):
                found.append(leaf)
        return found

    def _matrices(self, cell: Cell, h: Leaf) -> bool:
        return h in self._candidates(cell) and len(cell.leaves()) > 1

    def _lead(self, leaf: Leaf) -> tuple[tuple[int, ...], ...]:
        shapes = self.known.shapes(leaf.base)
        if leaf.axis:
            shapes = tuple(s[: len(s) - leaf.axis] + s[len(s) - leaf.axis + 1 :] for s in shapes)
        return tuple(tuple(n for n in s[:-1] if n != 1) for s in shapes)

    def state_of(self, cell: Cell) -> Leaf | None:
        """The source that is the state: of H columns, and told from the others by where it comes from."""
        cands = self._candidates(cell)
        if len(cell.leaves()) < 2 or not cands:
            return None
        if len(cands) == 1:
            return cands[0]
        source = self._origin(cell.c)
        tests: list[Callable[[Leaf], bool]] = [
            lambda leaf: self._beside(leaf, cell),
            lambda leaf: leaf.base == cell.c and not leaf.axis,
            lambda leaf: self._comes_back(leaf, cell),
            lambda leaf: bool(source) and self._origin(leaf.base) == source,
            lambda leaf: bool(source) and bool(self._origin(leaf.base)) and not leaf.axis,
        ]
        for test in tests:
            left = [leaf for leaf in cands if test(leaf)]
            if len(left) == 1:
                return left[0]
            cands = left or cands
        named = [leaf for leaf in cands if self._by_name(leaf, cell, cands)]
        return named[0] if len(named) == 1 else None

    def _beside(self, leaf: Leaf, cell: Cell) -> bool:
        """The output of the step whose c is ours: o * H(c)."""
        if leaf.axis:
            return False
        node = self.edit.maker.get(leaf.base)
        if node is None or node.op != "Mul":
            return False
        for name in node.inputs:
            found = self.read.act_on(self.edit.root(name))
            if found and self.edit.root(found[2]) == cell.c:
                return True
        return False

    def _origin(self, name: str) -> str:
        """The graph input (or value of an outer graph) that a value is a part or regrouping of; "" where computed."""
        if name not in self.origins:
            at = name
            while True:
                node = self.edit.maker.get(at)
                if node is None:
                    break
                if node.op not in _MOVES or node.domain or len([v for v in node.inputs[:1] if v]) != 1 or (
                    node.op == "Concat" and len(node.inputs) > 1
                ):  # fmt: skip
                    at = ""
                    break
                at = node.inputs[0]
            self.origins[name] = at if at and self.known.const(at) is None else ""
        return self.origins[name]

    def _reached(self, name: str) -> set[str]:
        """Graph outputs that a value reaches through moves alone."""
        found, todo, seen = set(), list(self.edit.group(name)), set(self.edit.group(name))
        while todo and len(seen) < 64:
            at = todo.pop()
            if at in self.edit.outputs:
                found.add(at)
            for reader in self.edit.readers.get(at, []):
                if reader.op in _MOVES and not reader.domain:
                    todo += [v for v in reader.outputs if v not in seen]
                    seen.update(reader.outputs)
        return found

    def _comes_back(self, leaf: Leaf, cell: Cell) -> bool:
        """Does the caller say that h' comes back as this source; for an RNN without that, does it look so."""
        origin = self._origin(leaf.base)
        if not origin or origin not in self.edit.inputs:
            return False
        reached = self._reached(cell.h_out)
        if origin in self.context.back:
            return self.context.back[origin] in reached
        if self.context.back or cell.op != "RNN":
            return False
        shapes = {self.known.shapes(name) for name in reached}
        rivals = [x for x in self._candidates(cell) if self._origin(x.base) in self.edit.inputs]
        if self.known.shapes(origin) not in shapes:
            return False
        return len(rivals) == 1 or self._by_name(leaf, cell, rivals)

    def _by_name(self, leaf: Leaf, cell: Cell, rivals: list[Leaf]) -> bool:
        """Names as the last resort: the source whose name is most like an output that h' reaches."""
        reached = self._reached(cell.h_out) if self.context.outputs else set()

        def alike(x: Leaf) -> int:
            origin = self._origin(x.base)
            return max((affinity(origin, out) for out in reached), default=0) if origin else 0

        mine = alike(leaf)
        return mine > 0 and all(alike(x) < mine for x in rivals if x != leaf)


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and (a is b or _place(a) == _place(b) or np.array_equal(a, b))


def _place(a: Array) -> Any:
    return a.__array_interface__["data"][0], a.shape, a.strides


# ---- putting the operator there -------------------------------------------------------------------------------


def _emit(edit: Editor, cell: Cell, inside: list[Node]) -> None:
    assert cell.h is not None
    hint = next((n.name for n in inside if n.outputs and n.outputs[0] == (cell.c_out or cell.h_out)), "") or cell.h_out
    hint = f"{hint}/{cell.op.lower()}"
    order = _ORDER[cell.op]
    xs = [leaf for leaf in cell.leaves() if leaf != cell.h]
    rest = cell.rest
    w = np.concatenate([_rows(cell.gates[g], xs, _width(cell, xs)) for g in order])
    parts = [cell.gates[g] for g in order]
    if rest is not None:
        parts[-1] = rest
    r = np.concatenate([_rows(part, [cell.h], [cell.size]) for part in parts])
    bias = np.zeros((2, len(order), cell.size), np.float32)
    for k, g in enumerate(order):
        found = cell.gates[g].bias
        bias[0, k] = 0 if found is None else found
    if rest is not None and rest.bias is not None:
        bias[1, -1] = rest.bias
    x = sequence(edit, xs, hint)
    inputs = [x, edit.const(w[None], f"{hint}/W"), edit.const(r[None], f"{hint}/R")]
    inputs += [edit.const(bias.reshape(1, -1), f"{hint}/B"), "", to_step(edit, cell.h, f"{hint}/h")]
    attrs: dict[str, Any] = {"hidden_size": cell.size}
    if cell.op == "LSTM":
        inputs.append(to_step(edit, Leaf(cell.c), f"{hint}/c"))
        if cell.peepholes:
            rows = [cell.peepholes.get(g, np.zeros(cell.size)) for g in "iof"]
            inputs.append(edit.const(np.concatenate(rows).astype(np.float32)[None], f"{hint}/P"))
    if cell.op == "GRU":
        attrs["linear_before_reset"] = cell.reset
    names = [name for name, _ in cell.acts]
    if names != recurrent.DEFAULTS[cell.op]:
        attrs["activations"] = names
        attrs["activation_alpha"] = [params[0] for _, params in cell.acts if params]
        attrs["activation_beta"] = [params[1] for _, params in cell.acts if len(params) > 1]
    outputs = ["", edit.names.fresh(f"{hint}/Y_h")] + ([edit.names.fresh(f"{hint}/Y_c")] if cell.op == "LSTM" else [])
    edit.add_node(Node(cell.op, edit.names.fresh(hint), inputs, outputs, attrs, opset=14))
    from_step(edit, outputs[1], cell.h_out, f"{hint}/h_out")
    if cell.c_out:
        from_step(edit, outputs[2], cell.c_out, f"{hint}/c_out")


def _width(cell: Cell, xs: list[Leaf]) -> list[int]:
    return [next(len(g.terms[leaf]) for g in cell.gates.values() if leaf in g.terms) for leaf in xs]


def _rows(gate: Affine, leaves: list[Leaf], widths: list[int]) -> Array:
    """[H, K] of one gate; zero where a source is not in it."""
    size = gate.out[0]
    parts = [
        gate.terms[leaf].T if leaf in gate.terms else np.zeros((size, n), np.float32)
        for leaf, n in zip(leaves, widths, strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)


def sequence(edit: Editor, xs: list[Leaf], hint: str) -> str:
    """The inputs of one step side by side, as a sequence of one."""
    parts = [to_step(edit, leaf, f"{hint}/x") for leaf in xs]
    return parts[0] if len(parts) == 1 else edit.add("Concat", parts, f"{hint}/x_all", axis=2)


def to_step(edit: Editor, leaf: Leaf, hint: str) -> str:
    """A source as [1, B, K]. A leading axis of extent 1 is taken off and put back: it is not time."""
    known, name = edit.known, leaf.keep or leaf.base
    const = known.const(name)
    if const is not None and not (leaf.axis and not leaf.keep):
        return edit.const(np.ascontiguousarray(const).reshape(1, -1, const.shape[-1]), f"{hint}_const")
    if leaf.axis and not leaf.keep:
        index = edit.const(np.array(leaf.raw, np.int64), "index")
        name = edit.add("Gather", [name, index], f"{hint}_picked", axis=known.rank(name) - leaf.axis)
    rank = known.rank(name)
    zero = edit.const(np.array([0], np.int64), "axes0")
    if rank == 3 and known.extent(name, 0) == 1:
        name, rank = edit.add("Squeeze", [name, zero], f"{hint}_frame"), 2
    if rank == 2:
        return edit.add("Unsqueeze", [name, zero], f"{hint}_step")
    if rank == 1:
        return edit.add("Unsqueeze", [name, edit.const(np.array([0, 1], np.int64), "axes01")], f"{hint}_step")
    width = known.shapes(name)[0][-1]
    return edit.add("Reshape", [name, edit.const(np.array([1, -1, width], np.int64), "shape")], f"{hint}_step")


def from_step(edit: Editor, name: str, out: str, hint: str) -> None:
    """[1, B, H] as the value `out` of any rank with one free axis."""
    known, zero = edit.known, edit.const(np.array([0], np.int64), "axes0")
    rank = known.rank(out)
    if rank == 2:
        edit.add("Squeeze", [name, zero], hint, output=out)
    elif rank == 1:
        edit.add("Squeeze", [name, edit.const(np.array([0, 1], np.int64), "axes01")], hint, output=out)
    elif rank == 3 and known.extent(out, 0) == 1:
        frame = edit.add("Squeeze", [name, zero], f"{hint}_frame")
        edit.add("Unsqueeze", [frame, zero], hint, output=out)
    else:
        free = [a for a in range(rank - 1) if known.extent(out, a) != 1]
        target = [(-1 if a in free else 1) for a in range(rank - 1)] + [known.shapes(out)[0][-1]]
        edit.add("Reshape", [name, edit.const(np.array(target, np.int64), "shape")], hint, output=out)
