"""Sequences of tensors, as scripted PyTorch loops use them, become tensors.

* A Loop that appends one tensor per iteration to a carried sequence gets a scan output in its place. What is then made
  of the sequence (ConcatFromSequence, SequenceAt, SequenceLength) becomes ConcatFromStack, Gather, Shape.
* A list written out (SequenceConstruct, SequenceEmpty with SequenceInsert behind it) is taken apart: ConcatFromSequence
  of it is a Concat.
* SequenceAt of SplitToSequence is a Gather, or a Slice; ConcatFromSequence of it joins positions of axis 0 anew.

Other sequences are left, and then refused by name: there is no operator for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph.ir import Graph, Node, Port

__all__ = ["remove_sequences"]

_OPSET = 18


def remove_sequences(graph: Graph) -> None:
    """Rewrite all sequences of the graph and its subgraphs that can be, in place."""
    if any("Sequence" in node.op for node in graph.walk()):
        _Sequences(graph, {}).rewrite()


class _Sequences:
    def __init__(self, graph: Graph, outer: dict[str, Node]) -> None:
        self.graph = graph
        self.made = outer | {name: node for node in graph.nodes for name in node.outputs if name}
        self.out: list[Node] = []

    def rewrite(self) -> None:
        for node in list(self.graph.nodes):
            for sub in node.subgraphs():
                _Sequences(sub, self.made).rewrite()
        again = True
        while again:
            again = any(self.loop(node) for node in self.graph.nodes if node.op == "Loop" and node.domain == "")
        self.out = []
        for node in self.graph.nodes:
            if node.op == "SplitToSequence" and not node.domain:
                self.note_split(node)
            self.node(node)
        self.graph.nodes[:] = self.out
        self.sweep()

    def const(self, name: str, value: object) -> str:
        self.graph.consts[name] = np.asarray(value, np.int64)
        return name

    # ---- loops

    def loop(self, node: Node) -> bool:
        """One carried sequence of a Loop to a scan output."""
        body = node.attrs.get("body")
        if not isinstance(body, Graph):
            return False
        for k, first in enumerate(node.inputs[2:]):
            empty = self.made.get(first)
            if empty is None or empty.op != "SequenceEmpty" or len(body.inputs) <= 2 + k or len(body.outputs) <= 1 + k:
                continue
            inside, result = body.inputs[2 + k].name, body.outputs[1 + k].name
            appends = next((n for n in body.nodes if result in n.outputs), None)
            if (
                appends is None
                or appends.op != "SequenceInsert"
                or appends.inputs[0] != inside
                or len(appends.inputs) > 2
            ):
                continue
            if any(inside in n.inputs for n in body.walk() if n is not appends) or any(
                result in n.inputs for n in body.walk()
            ):
                continue
            output = node.outputs[k] if k < len(node.outputs) else ""
            if output and not self.only_taken_apart(output):
                continue
            body.nodes.remove(appends)
            port = Port(appends.inputs[1], body.outputs[1 + k].dtype, None)
            n_carried = len(node.inputs) - 2
            del node.inputs[2 + k], body.inputs[2 + k], body.outputs[1 + k]
            node.outputs += [""] * (n_carried - len(node.outputs))
            del node.outputs[k]
            at = n_carried - 1
            body.outputs.insert(1 + at, port)
            node.outputs.insert(at, output)
            return True
        return False

    def readers(self, name: str) -> Iterator[Node]:
        return (node for node in self.graph.walk() if name in node.inputs)

    def only_taken_apart(self, name: str) -> bool:
        if name in {port.name for port in self.graph.outputs}:
            return False
        return all(n.op in ("ConcatFromSequence", "SequenceAt", "SequenceLength") for n in self.readers(name))

    # ---- what is made of a sequence

    def node(self, node: Node) -> None:
        if node.domain or node.op not in ("ConcatFromSequence", "SequenceAt", "SequenceLength"):
            self.out.append(node)
            return
        source = node.inputs[0]
        maker = self.made.get(source)
        if maker is not None and maker.op == "Loop":
            self.of_stack(node)
            return
        items = self.items(source)
        if items is not None and self.of_items(node, items):
            return
        if maker is not None and maker.op == "SplitToSequence":
            if node.op == "SequenceAt" and self.of_split(node, maker):
                return
            if node.op == "ConcatFromSequence" and self.join_split(node, maker):
                return
        self.out.append(node)

    def of_stack(self, node: Node) -> None:
        """Of a scan output: a tensor with the sequence along axis 0."""
        source, (output,) = node.inputs[0], node.outputs
        if node.op == "SequenceAt":
            self.out.append(Node("Gather", node.name, list(node.inputs), [output], {"axis": 0}, "", _OPSET))
        elif node.op == "SequenceLength":
            shape = f"{node.name}/shape"
            axes = self.const(f"{node.name}/axes", [0])
            self.out.append(Node("Shape", shape, [source], [shape], {"start": 0, "end": 1}, "", _OPSET))
            self.out.append(Node("Squeeze", node.name, [shape, axes], [output], {}, "", _OPSET))
        else:
            self.out.append(Node("ConcatFromStack", node.name, [source], [output], dict(node.attrs), "lstm_infer"))

    def items(self, name: str) -> list[str] | None:
        """The tensors of a sequence that is written out."""
        node = self.made.get(name)
        if node is None or node.domain:
            return None
        if node.op == "SequenceConstruct":
            return list(node.inputs)
        if node.op == "SequenceEmpty":
            return []
        if node.op == "SequenceInsert":
            before = self.items(node.inputs[0])
            at: int | None = None if before is None else len(before)
            if len(node.inputs) > 2:
                at = self.known(node.inputs[2])
            if before is None or at is None or not -len(before) <= at <= len(before):
                return None
            before.insert(at, node.inputs[1])
            return before
        return None

    def known(self, name: str) -> int | None:
        const = self.graph.consts.get(name)
        return None if const is None or const.size != 1 else int(const.reshape(-1)[0])

    def of_items(self, node: Node, items: list[str]) -> bool:
        (output,) = node.outputs
        if node.op == "SequenceLength":
            self.graph.consts[output] = np.array(len(items), np.int64)
        elif node.op == "SequenceAt":
            at = self.known(node.inputs[1])
            if at is None or not -len(items) <= at < len(items):
                return False
            self.out.append(Node("Identity", node.name, [items[at]], [output], {}, "", _OPSET))
        elif not items:
            return False
        else:
            axis = node.attrs.get("axis", 0)
            parts = items
            if node.attrs.get("new_axis", 0):
                where = self.const(f"{node.name}/axis", [axis])
                parts = [f"{node.name}/{index}" for index in range(len(items))]
                for part, item in zip(parts, items, strict=True):
                    self.out.append(Node("Unsqueeze", part, [item, where], [part], {}, "", _OPSET))
            self.out.append(Node("Concat", node.name, parts, [output], {"axis": axis}, "", _OPSET))
        return True

    def note_split(self, split: Node) -> None:
        """Is every position of the sequence read, as by a loop that was unrolled."""
        indices = [self.known(n.inputs[1]) for n in self.readers(split.outputs[0]) if n.op == "SequenceAt"]
        if len(split.inputs) < 2 and len(indices) > 1 and set(indices) == set(range(len(indices))):
            self.graph.split_whole.add(len(indices))

    def of_split(self, node: Node, split: Node) -> bool:
        (output,) = node.outputs
        axis = split.attrs.get("axis", 0)
        x, at = split.inputs[0], node.inputs[1]
        if len(split.inputs) < 2 or not split.inputs[1]:  # pieces of one position
            if split.attrs.get("keepdims", 1):
                part, where = f"{node.name}/part", self.const(f"{node.name}/axis", [axis])
                self.out.append(Node("Gather", part, [x, at], [part], {"axis": axis}, "", _OPSET))
                self.out.append(Node("Unsqueeze", node.name, [part, where], [output], {}, "", _OPSET))
            else:
                self.out.append(Node("Gather", node.name, [x, at], [output], {"axis": axis}, "", _OPSET))
            return True
        sizes, index = self.graph.consts.get(split.inputs[1]), self.known(at)
        if sizes is None or index is None or index < 0:
            return False
        if sizes.ndim == 0:
            start, stop = index * int(sizes), (index + 1) * int(sizes)
        elif index < sizes.size:
            start, stop = int(sizes[:index].sum()), int(sizes[: index + 1].sum())
        else:
            return False
        ends = [self.const(f"{node.name}/{n}", [v]) for n, v in (("start", start), ("stop", stop), ("axis", axis))]
        self.out.append(Node("Slice", node.name, [x, *ends], [output], {}, "", _OPSET))
        return True

    def join_split(self, node: Node, split: Node) -> bool:
        """All positions of axis 0, joined again."""
        if split.attrs.get("axis", 0) or (len(split.inputs) > 1 and split.inputs[1]):
            return False
        stack = split.inputs[0]
        if split.attrs.get("keepdims", 1):
            stack, where = f"{node.name}/parts", self.const(f"{node.name}/axis", [1])
            self.out.append(Node("Unsqueeze", stack, [split.inputs[0], where], [stack], {}, "", _OPSET))
        self.out.append(Node("ConcatFromStack", node.name, [stack], list(node.outputs), dict(node.attrs), "lstm_infer"))
        return True

    def sweep(self) -> None:
        """Makers of sequences that nobody reads any more go."""
        graph = self.graph
        while True:
            read = {name for node in graph.walk() for name in node.inputs} | {port.name for port in graph.outputs}
            read |= {
                p.name for node in graph.walk() for g in node.attrs.values() if isinstance(g, Graph) for p in g.outputs
            }
            dead = [
                n for n in graph.nodes if "Sequence" in n.op and not any(name in read for name in n.outputs if name)
            ]
            if not dead:
                return
            gone = {id(n) for n in dead}
            graph.nodes[:] = [n for n in graph.nodes if id(n) not in gone]
