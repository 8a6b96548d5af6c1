"""Bodies of Scan that are cells: the Scan becomes recurrent operators over its axis, with plain nodes around them.

Looks at the normal form that loops.py makes, after the cells inside the body were replaced. Each state must be read by
its cell alone and come back from it; what else the body does must be element-wise or a product with constant weights,
so that it can run over the whole sequence at once. Anything else (masked steps, say) stays a Scan.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph.edit import Names
from ..graph.ir import Graph, Node
from ..ops import recurrent
from ..ops.common import pass_broadcast
from ..ops.registry import attr, find
from .affine import Leaf
from .cell_emit import from_step, to_step
from .known import Known
from .rewrite import Editor
from .unrolled import ends, is_step

__all__ = ["open_scan"]


def open_scan(edit: Editor, node: Node, inside: Known, names: Names) -> str:
    """Replace one Scan of the graph of `edit`; returns the text, "" where it stays."""
    body = attr(node, "body")
    if not isinstance(body, Graph) or not all(inside.has(port.name) for port in body.outputs):
        return ""
    scan = _Scan(edit, node, body, inside, names)
    mark = len(edit.fresh_nodes), dict(edit.graph.consts)
    text = scan.open()
    if not text:
        del edit.fresh_nodes[mark[0] :]
        edit.graph.consts.clear()
        edit.graph.consts.update(mark[1])
        edit.forget()
    return text


class _Scan:
    def __init__(self, edit: Editor, node: Node, body: Graph, inside: Known, names: Names) -> None:
        self.edit, self.node, self.body, self.inside = edit, node, body, inside
        self.within = Editor(body, inside, names)
        self.n_scans = int(attr(node, "num_scan_inputs"))
        self.n_states = len(node.inputs) - self.n_scans
        self.states = [port.name for port in body.inputs[: self.n_states]]
        self.ends = [port.name for port in body.outputs[: self.n_states]]
        self.seen: dict[str, str] = {}
        """Value of the body (a root) to the sequence of it in the outer graph: [T, *its shape]."""

    def open(self) -> str:
        node, edit = self.node, self.edit
        steps = [n for n in self.body.nodes if is_step(self.within, n)]
        pairs = {}
        for cell in steps:
            found = self._states_of(cell)
            if found is None:
                return ""
            pairs[id(cell)] = found
        if not steps or sorted(k for found in pairs.values() for k in found) != list(range(self.n_states)):
            return ""
        backwards = list(attr(node, "scan_input_directions", [])) or [0] * self.n_scans
        if len(set(backwards)) > 1:
            return ""
        slices, sequences = self.body.inputs[self.n_states :], node.inputs[self.n_states :]
        for port, name, axis in zip(slices, sequences, self._axes(), strict=True):
            self.seen[port.name] = self._to_front(name, axis)
        last: dict[int, str] = {}
        for inner in self.body.nodes:
            if id(inner) in pairs:
                done = self._cell(inner, pairs[id(inner)], bool(backwards[0]), last)
            elif any(self.within.source(v) for v in inner.outputs if v):
                done = True  # only renames
            else:
                done = self._plain(inner)
            if not done:
                return ""
        if not self._outputs(backwards[0]):
            return ""
        for k, value in last.items():
            if k < len(node.outputs) and node.outputs[k]:
                from_step(edit, value, node.outputs[k], f"{node.name}/last")
        edit.drop([node])
        kinds = ", ".join(f"{c.op} of {self.inside.shapes(c.inputs[2])[0][-1]} units" for c in steps)
        return f"{node.name}: loop over the sequence: runs as {kinds}"

    def _axes(self) -> list[int]:
        return [int(a) for a in attr(self.node, "scan_input_axes", [])] or [0] * self.n_scans

    def _to_front(self, name: str, axis: int) -> str:
        rank = self.edit.known.rank(name)
        if axis % rank == 0:
            return name
        perm = [axis % rank, *(a for a in range(rank) if a != axis % rank)]
        return self.edit.add("Transpose", [name], f"{self.node.name}/x_first", perm=perm)

    def _states_of(self, cell: Node) -> list[int] | None:
        """Numbers of the Scan's states that a step carries."""
        found = []
        for _, index, output in recurrent.states(cell):
            name = self.within.root(cell.inputs[index]) if index < len(cell.inputs) and cell.inputs[index] else ""
            if name not in self.states:
                return None
            k = self.states.index(name)
            if self.within.root(self.ends[k]) not in ends(self.within, cell, output):
                return None
            if [id(user) for user in self.within.users(name)] != [id(cell)]:
                return None
            found.append(k)
        return found

    def _sequence(self, value: str) -> str:
        """The sequence of a value of the body, under the value's own shape; "" where there is none."""
        root = self.within.root(value)
        name = self.seen.get(root, "")
        if not name:
            return ""
        old, new = self.inside.shapes(root), self.inside.shapes(value)
        if old == new:
            return name
        ones = self.edit.const(np.array([1], np.int64), "axes1")
        if all(b == (1, *a) for a, b in zip(old, new, strict=True)):
            return self.edit.add("Unsqueeze", [name, ones], f"{self.node.name}/wide")
        if all(a == (1, *b) for a, b in zip(old, new, strict=True)):
            return self.edit.add("Squeeze", [name, ones], f"{self.node.name}/narrow")
        return ""

    def _cell(self, cell: Node, states: list[int], backwards: bool, last: dict[int, str]) -> bool:
        edit, node = self.edit, self.node
        x = self._sequence(cell.inputs[0])  # [T, 1, B, I]
        if not x:
            return False
        x = edit.add("Squeeze", [x, edit.const(np.array([1], np.int64), "axes1")], f"{node.name}/x")
        inputs = [x]
        for k in (1, 2, 3):
            name = cell.inputs[k] if k < len(cell.inputs) else ""
            const = self.inside.const(name) if name else None
            if name and const is None:
                return False
            inputs.append("" if const is None else edit.const(const, f"{node.name}/{'WRB'[k - 1]}"))
        inputs.append("")
        inputs += [to_step(edit, Leaf(node.inputs[k]), f"{node.name}/first") for k in states]
        if len(cell.inputs) > 7 and cell.inputs[7]:
            const = self.inside.const(cell.inputs[7])
            if const is None:
                return False
            inputs.append(edit.const(const, f"{node.name}/P"))
        hint = f"{node.name}/{cell.op.lower()}"
        outputs = [edit.names.fresh(f"{hint}/Y")] + [edit.names.fresh(f"{hint}/last") for _ in states]
        attrs = {**cell.attrs, "direction": "reverse"} if backwards else cell.attrs
        edit.add_node(replace(cell, name=edit.names.fresh(hint), inputs=inputs, outputs=outputs, attrs=attrs))
        last.update(zip(states, outputs[1:], strict=True))
        for place, value in enumerate(cell.outputs[:2]):
            if value:  # Y [T, 1, B, H] is the sequence of Y_h, and without its axis T of Y
                wide = edit.const(np.array([1], np.int64), "axes1")
                self.seen[value] = outputs[0] if place else edit.add("Unsqueeze", [outputs[0], wide], f"{hint}/Y_step")
        return True

    def _plain(self, inner: Node) -> bool:
        """A node that does the same to every step: once over the whole sequence."""
        over = [v for v in inner.inputs if v and self.within.root(v) in self.seen]
        if not over:  # nothing of this step in it: a value from outside, or one computed from such
            return self._outer(inner)
        op = find(inner)
        rank = max(self.inside.rank(v) for v in over)
        inputs = []
        for k, name in enumerate(inner.inputs):
            if name in over:
                if self.inside.rank(name) != rank:
                    return False
                inputs.append(self._sequence(name))
                continue
            outer = self._from_outside(name)
            if name and (not outer or self.inside.rank(name) > rank):
                return False
            if inner.op == "MatMul" and (k != 1 or self.inside.rank(name) != 2):
                return False
            inputs.append(outer)
        product = inner.op == "MatMul" and not inner.domain and len(over) == 1
        if not all(inputs[: len(over)]) or not (op.flow is pass_broadcast or product):
            return False
        outs = [self.edit.names.fresh(f"{self.node.name}/{inner.op.lower()}") for _ in inner.outputs]
        self.edit.add_node(replace(inner, name=self.edit.names.fresh(inner.name), inputs=inputs, outputs=outs))
        self.seen.update(zip(inner.outputs, outs, strict=True))
        return True

    def _from_outside(self, name: str) -> str:
        """A value that is the same at every step, as the outer graph has it."""
        if not name:
            return ""
        const = self.inside.const(name)
        if const is not None and (name in self.within.maker or name in self.body.consts):
            return self.edit.const(const, f"{self.node.name}/const")
        if name in self.within.maker or name in self.states or not self.edit.known.has(name):
            return ""
        return name

    def _outer(self, inner: Node) -> bool:
        return all(self.inside.const(v) is not None for v in inner.outputs if v)

    def _outputs(self, backwards: int) -> bool:
        node, edit = self.node, self.edit
        n = len(self.body.outputs) - self.n_states
        directions = [int(d) for d in attr(node, "scan_output_directions", [])] or [0] * n
        axes = [int(a) for a in attr(node, "scan_output_axes", [])] or [0] * n
        for k in range(n):
            place = self.n_states + k
            out = node.outputs[place] if place < len(node.outputs) else ""
            if not out:
                continue
            name = self._sequence(self.body.outputs[place].name)
            if not name or directions[k] != backwards:
                return False
            rank = edit.known.rank(out)
            to = axes[k] % rank
            if to:
                perm = [*range(1, to + 1), 0, *range(to + 1, rank)]
                edit.add("Transpose", [name], f"{node.name}/y", output=out, perm=perm)
            else:
                edit.add("Identity", [name], f"{node.name}/y", output=out)
        return True
