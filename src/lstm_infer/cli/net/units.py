"""What a box of the drawing is: a node with weights and what only goes on from it, a port, a state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...analysis.spec import StreamSpec
from ...errors import LstmInferError, NotStreamableError
from ...model import Model
from ...ops import registry

if TYPE_CHECKING:
    from ...graph.ir import Node
    from ...walk.walk import Walk

__all__ = ["Drawing", "Unit", "drawing"]

MOVES = {"Identity", "Cast"}
"""Not shown: nothing is computed, nothing moves."""


@dataclass
class Unit:
    """A box. kind: input, state, output, layer (it has weights), plain, refused."""

    kind: str
    title: str
    name: str = ""
    more: str = ""
    """What follows inside the box, by operator."""
    shape: str = ""
    """Of what comes out."""
    told: list[str] = field(default_factory=list)
    """All of it, for who points at the box."""
    loop: str = ""
    """What it keeps from step to step."""


@dataclass
class Drawing:
    """Boxes, edges between them (and whether a value with a time axis goes there), and which box a state comes back from."""

    units: list[Unit] = field(default_factory=list)
    edges: dict[tuple[int, int], bool] = field(default_factory=dict)
    back: list[tuple[int, int, str]] = field(default_factory=list)
    """From the box that makes the next value to the box of the state, and its name."""


def drawing(model: Model) -> Drawing:
    """The net as it is run at one size of its inputs: what is folded is not there, what was recognised is one box.

    Raises
    ------
    LstmInferError
        The sizes of its inputs are unknown, so nothing is known of what lies between them.
    """
    roles = model._roles
    if roles.walkable:
        raise LstmInferError(f"the net cannot be drawn: {roles.walkable}")
    try:
        spec: StreamSpec | LstmInferError = model._streams.answer()
    except LstmInferError as error:
        spec = error
    steps = roles.analysis_sizes()[0]
    return _Drawer(model, roles.walk(steps, roles.batch_size or 1), spec, steps).draw()


class _Drawer:
    def __init__(self, model: Model, walked: Walk, spec: StreamSpec | LstmInferError, steps: int) -> None:
        self.model, self.walked, self.steps = model, walked, steps
        self.spec = spec if isinstance(spec, StreamSpec) else None
        self.refused = spec.node if isinstance(spec, NotStreamableError) else ""
        self.time = dict(self.spec.time_axes) if self.spec else dict(model._roles.time)
        self.pairs = dict(self.spec.pairs) if self.spec else {}
        self.open = set(model._roles.stay_open())
        self.found = Drawing()
        self.of: dict[str, int] = {}
        """The box that makes a value."""

    def draw(self) -> Drawing:
        """All of it."""
        used = {v for node in self._nodes() for v in node.inputs}
        for info in self.model.inputs:
            if info.name in used:
                self._port(info.name, "state" if info.name in self.pairs else "input")
        for node in self._nodes():
            self._node(node)
        for k, unit in enumerate(self.found.units):
            if unit.kind not in ("input", "state"):
                self._describe(k, unit)
        for out in self.model.outputs:
            if out.name not in self.of:
                continue
            inside = [name for name, value in self.pairs.items() if value == out.name]
            if not inside or (self.spec and any(o.name == out.name for o in self.spec.outputs)):
                at = self._add(Unit("output", out.name, shape=self._shape(out.name), told=[f"output {out.name}"]))
                self._edge(out.name, at)
            for name in inside:
                if name in self.of:
                    self.found.back.append((self.of[out.name], self.of[name], name))
        return self.found

    def _nodes(self) -> list[Node]:
        return list(self.walked.nodes)

    def _add(self, unit: Unit) -> int:
        self.found.units.append(unit)
        return len(self.found.units) - 1

    def _edge(self, value: str, to: int) -> None:
        key = self.of[value], to
        if key[0] != to:
            self.found.edges[key] = self.found.edges.get(key, False) or value in self.time

    def _port(self, name: str, kind: str) -> None:
        self.of[name] = self._add(Unit(kind, name, shape=self._shape(name), told=[f"{kind} {name}"]))

    def _node(self, node: Node) -> None:
        """A node becomes a box, or goes on in the one that alone feeds it."""
        fed = [v for v in dict.fromkeys(node.inputs) if v and v in self.of]
        homes = {self.of[v] for v in fed}
        grows = len(homes) == 1 and not registry.weights(node) and not self._loop(node)
        at = homes.pop() if grows else -1
        if not grows or self.found.units[at].kind in ("input", "state"):
            at = self._add(Unit("layer" if registry.weights(node) else "plain", self._title(node), node.name))
            self.found.units[at].loop = self._loop(node)
        unit = self.found.units[at]
        if self.refused and node.name == self.refused:
            unit.kind = "refused"
        unit.told.append(f"{node.op} {node.name}")
        for v in fed:
            self._edge(v, at)
        self.of.update((out, at) for out in node.outputs if out)
        if any(out and out in self.walked.facts for out in node.outputs):
            unit.shape = self._shape(next(out for out in node.outputs if out))

    def _describe(self, k: int, unit: Unit) -> None:
        """What follows in a box behind its first node."""
        ops = Counter(told.split(" ")[0] for told in unit.told[1:])
        unit.more = ", ".join(f"{n} {op}" if n > 1 else op for op, n in ops.items() if op not in MOVES)

    def _loop(self, node: Node) -> str:
        """What a node keeps from step to step."""
        if self.spec is None:
            return ""
        names = [one.what for one in self.spec.carried if one.node == node.name]
        if node.name in self.spec.windows:
            window = self.spec.windows[node.name][1]
            kept = (window.kernel - 1) * window.dilation
            names += [f"{kept} steps"] if kept else []
        return ", ".join(dict.fromkeys(names))

    def _title(self, node: Node) -> str:
        """The operator and its sizes."""
        facts = [self.walked.facts.get(v) for v in node.inputs]
        shapes = [tuple(f.shape) if f is not None else () for f in facts]
        if len(shapes) > 2 and len(shapes[1]) == len(shapes[2]) == 3 and shapes[1][:2] == shapes[2][:2]:  # W and R
            both = " both ways" if shapes[1][0] == 2 else ""
            return f"{node.op} {shapes[1][2]} → {shapes[2][2]}{both}"
        if node.op == "Conv" and len(shapes) > 1 and len(shapes[1]) > 2:
            out, into, *kernel = shapes[1]
            groups = node.attrs.get("group", 1)
            return f"Conv {'×'.join(map(str, kernel))}, {into * (groups if isinstance(groups, int) else 1)} → {out}"
        if node.op in ("MatMul", "Gemm") and len(shapes) > 1 and len(shapes[1]) == 2:
            into, out = shapes[1][::-1] if node.attrs.get("transB") else shapes[1]
            return f"{node.op} {into} → {out}"
        return node.op

    def _shape(self, value: str) -> str:
        """Sizes of one signal; T along time, ? where the file leaves an input open."""
        fact = self.walked.facts.get(value)
        if fact is None:
            return ""
        axis = self.time.get(value)
        parts = [("T" if n == self.steps else "T′") if a == axis else str(n) for a, n in enumerate(fact.shape)]
        parts = ["?" if (value, a) in self.open else part for a, part in enumerate(parts)]
        return f"[{', '.join(parts)}]"
