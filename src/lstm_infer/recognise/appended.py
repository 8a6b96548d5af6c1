"""Values that a loop appends to: y = Concat(y, v) at every step, where nothing in the loop reads y.

Such a y is what a scan output is: v stacked over the steps, merged into the axis along which it was appended, behind what y
began with (in front of it where v comes first). The loop then carries nothing that grows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..frozen import frozen
from ..graph.ir import Node
from ..ops.registry import attr
from ..walk.graphs import outer_names, source_of

__all__ = ["Appended", "appended"]


@frozen
class Appended:
    """How a carried value grows."""

    join: Node
    """The Concat that appends to it."""
    items: tuple[str, ...]
    """What is appended in one step."""
    in_front: bool
    axis: int
    """As the Concat has it: from the back where negative."""

    def item(self) -> Node:
        """A node that makes what is appended, under the name of what it was appended to."""
        if len(self.items) > 1:
            return replace(self.join, inputs=list(self.items))
        return Node("Identity", self.join.name, list(self.items), list(self.join.outputs), {}, "", 13)

    def after(self, name: str, first: str, stack: str, last: str) -> list[Node]:
        """Nodes behind the loop that make the last value from the first one and the stack of what was appended."""
        joined = f"{name}/joined"
        parts = [joined, first] if self.in_front else [first, joined]
        return [
            Node("ConcatFromStack", joined, [stack], [joined], {"axis": self.axis, "new_axis": 0}, "lstm_infer"),
            Node("Concat", f"{name}/begun", parts, [last], {"axis": self.axis}, "", 13),
        ]


def appended(nodes: Sequence[Node], inside: str, result: str, others: Collection[str]) -> Appended | None:
    """How the carried value `inside` of a body grows into `result`; None where it is not only appended to.

    others : what else the body gives out
    """
    made = {out: node for node in nodes for out in node.outputs if out}
    join = made.get(source_of(made, result))
    if join is None or join.op != "Concat" or join.domain or len(join.inputs) < 2:
        return None
    sources = [source_of(made, name) for name in join.inputs]
    if sources.count(inside) != 1 or inside not in (sources[0], sources[-1]):
        return None
    own = {inside, join.outputs[0]}
    reads = set(others)
    for node in nodes:
        if node is not join and not (node.op == "Identity" and not node.domain):
            reads |= {*node.inputs, *(name for sub in node.subgraphs() for name in outer_names(sub))}
    if any(source_of(made, name) in own for name in reads if name):
        return None
    in_front = sources[0] != inside
    items = tuple(join.inputs[:-1] if in_front else join.inputs[1:])
    return Appended(join, items, in_front, int(attr(join, "axis")))
