"""Which of the sources of a step is its state: told by where it comes from and where the next one goes."""

from __future__ import annotations

from collections.abc import Callable

from ..analysis.names import affinity
from .affine import Leaf, Reader
from .cell import MOVES, Cell, Context, Matcher
from .rewrite import Editor

__all__ = ["StateFinder"]


class StateFinder(Matcher):
    """Asked where more than one source has the width of a state."""

    def __init__(self, edit: Editor, read: Reader, context: Context) -> None:
        super().__init__(edit, read)
        self.context = context
        self.origins: dict[str, str] = {}

    def state_of(self, cell: Cell) -> Leaf | None:
        """The source that is the state: of H columns, and told from the others by where it comes from."""
        cands = self.candidates(cell)
        if len(cell.leaves()) < 2 or not cands:
            return None
        if len(cands) == 1:
            return cands[0]
        source = self._origin(cell.c)
        tests: list[Callable[[Leaf], bool]] = [
            lambda leaf: self._beside(leaf, cell),
            lambda leaf: leaf.base == cell.c and not leaf.axis,
            lambda leaf: self.comes_back(leaf, cell),
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
                if node.op not in MOVES or node.domain or len([v for v in node.inputs[:1] if v]) != 1 or (
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
                if reader.op in MOVES and not reader.domain:
                    todo += [v for v in reader.outputs if v not in seen]
                    seen.update(reader.outputs)
        return found

    def comes_back(self, leaf: Leaf, cell: Cell) -> bool:
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
        rivals = [x for x in self.candidates(cell) if self._origin(x.base) in self.edit.inputs]
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
