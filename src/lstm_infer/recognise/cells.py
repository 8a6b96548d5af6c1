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
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from ..graph.edit import captured
from ..graph.ir import Node
from .affine import Act, Leaf, Reader
from .cell import Cell, Context, Matcher, same
from .cell_emit import emit
from .cell_gru import GruMatcher
from .cell_lstm import LstmMatcher
from .cell_states import StateFinder
from .rewrite import Editor

__all__ = ["rewrite_cells"]


def rewrite_cells(edit: Editor, context: Context, *, shared: bool) -> list[str]:
    """Replace cells in place; returns one text each.

    shared: also cells whose input product is computed for a whole sequence elsewhere; the caller rolls those up, or
    else undoes it.
    """
    finder = _Finder(edit, context)
    texts: list[str] = []
    nodes = {id(node): node for node in edit.graph.nodes}
    ahead = _Ahead(edit)
    for cell in finder.cells():
        alone = _alone(edit, cell, nodes)
        if not alone or (finder.commuted(cell) and not shared) or not ahead.take(cell):
            continue
        inside = [nodes[i] for i in cell.nodes]
        texts.append(_text(cell, inside))
        emit(edit, cell, inside)
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


class _Ahead:
    """What a cell reads has to be there before the cell makes anything: as one node it reads all at once."""

    def __init__(self, edit: Editor) -> None:
        self.edit = edit
        self.taken: dict[int, Cell] = {}
        """Nodes by the cell that they went into."""

    def take(self, cell: Cell) -> bool:
        """Remember a cell, where it may be one node; False where a source of it needs what it makes.

        A source that f, i or c' needs in an LSTM comes before c', which is all that others may read of it, and in the
        other cells all sources come before h': only what o alone reads has to be followed.
        """
        maker = self.edit.maker
        if any(id(maker.get(name)) in cell.nodes for name in _sources(cell, cell.leaves())):
            return False
        early = {leaf for gate, affine in cell.gates.items() if gate != "o" for leaf in affine.terms}
        todo = list(_sources(cell, [leaf for leaf in cell.leaves() if leaf not in early]) if cell.op == "LSTM" else ())
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            node = maker.get(name)
            if node is None or name in seen:
                continue
            if id(node) in cell.nodes:
                return False
            seen.add(name)
            before = self.taken.get(id(node))
            todo += [*node.inputs, *captured(node)] if before is None else _sources(before, before.leaves())
        self.taken |= dict.fromkeys(cell.nodes, cell)
        return True


def _sources(cell: Cell, leaves: Iterable[Leaf]) -> set[str]:
    """The values that a cell reads for these sources, its state c with them."""
    return {name for leaf in leaves for name in (leaf.base, leaf.keep) if name} | ({cell.c} if cell.c else set())


def _text(cell: Cell, inside: list[Node]) -> str:
    levels = [node.name.split("/")[:-1] for node in inside]
    common = takewhile(lambda level: len(set(level)) == 1, zip(*levels, strict=False))
    where = "/".join(level[0] for level in common)
    ops = Counter(node.op for node in inside)
    shown = ", ".join(f"{n} {op}" for op, n in sorted(ops.items()))
    return f"{where or cell.h_out}: {cell.op} cell of {cell.size} units (from {shown})"


class _Finder(Matcher):
    """Looks at every node that may end a cell."""

    def __init__(self, edit: Editor, context: Context) -> None:
        super().__init__(edit, Reader(edit))
        self.states = StateFinder(edit, self.read, context)
        self.lstm, self.gru = LstmMatcher(edit, self.read).lstm, GruMatcher(edit, self.read).gru
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
            if node.domain or node.op not in ("Add", "Sub") or not self.known.is_real(node.outputs[0]):
                continue
            cell = (self.lstm(node) if node.op == "Add" else None) or self.gru(node)
            if cell is not None and not used & cell.nodes:
                used |= cell.nodes
                found.append(cell)
        yield from self._with_states(found)
        for node in self.edit.graph.nodes:
            if id(node) in used or node.domain or len(node.outputs) != 1 or not self.known.is_real(node.outputs[0]):
                continue
            if self.edit.act_op(node):
                act = self.read.act(node.outputs[0])
                if act is None or len(act.pre.out) != 1:
                    continue
                if len(act.pre.terms) > 1 and self.fits(node.outputs[0]):
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
            alike = []
            if behind is not None and behind.h is not None:
                r = behind.gates["i"].terms.get(behind.h)
                mine = cell.gates["i"].terms
                alike = [x for x in self.candidates(cell) if r is not None and x in mine and same(mine[x], r)]
            cell.h = alike[0] if len(alike) == 1 else self.states.state_of(cell)
        return (cell for cell in found if cell.h is not None)

    def simple(self, name: str) -> Cell | None:
        act = self.rnn[name]
        cell = Cell("RNN", act.pre.out[0], name, "", [(act.name, act.params)], {"h": act.pre}, None, set(act.nodes))
        cands = self.candidates(cell)
        before = [leaf for leaf in cands if self._follows(leaf, act, cands)]
        sure = [leaf for leaf in cands if self.states.comes_back(leaf, cell)]
        if len(before) == 1:
            cell.h = before[0]
        elif len(sure) == 1:
            cell.h = sure[0]
        elif self._is_followed(name, act):
            # the first step of an unrolled layer: the same matrix as that of the steps behind it
            for leaf in cands:
                if any(same(act.pre.terms[leaf], self.rnn[u].pre.terms[Leaf(name)]) for u in self.fed.get(name, ())):
                    cell.h = leaf
        return cell if cell.h is not None and self.matrices(cell, cell.h) else None

    def _follows(self, leaf: Leaf, act: Act, cands: list[Leaf]) -> bool:
        """Is the source the output of a step with the same matrices."""
        before = self.rnn.get(leaf.base) if not leaf.axis else None
        return before is not None and any(same(m, act.pre.terms[leaf]) for m in before.pre.terms.values())

    def _is_followed(self, name: str, act: Act) -> bool:
        later = [self.rnn[u].pre.terms[Leaf(name)] for u in self.fed.get(name, ())]
        return any(same(m, r) for m in act.pre.terms.values() for r in later)
