"""Where the signals of a batch meet, in a model that is fed several of them."""

from __future__ import annotations

from ..graph.ir import Node
from ..ops import registry
from ..walk.walk import Walk
from .axes import links, trace
from .labels import Trace
from .roles import Roles

__all__ = ["meeting_point"]


def meeting_point(roles: Roles, *, places: bool = False) -> Node | None:
    """The node at which the signals of a batch meet: a mean over it, say. None: they stay apart. places: also one that hands
    them to other places of the batch, or adds up along it, as a batch in lockstep means it and signals of a pool do not."""
    if not roles.batch:
        return None
    walked = roles.walk(*roles.analysis_sizes())
    traced = trace(roles.inputs, walked, roles.time, roles.batch)
    name, axis = next(iter(roles.batch.items()))
    label = traced.axes[name][axis][0].label
    for node in walked.nodes:
        if any(v and traced.find(v, label) is not None for v in node.inputs) and any(
            v and traced.find(v, label) is None for v in node.outputs
        ):
            return node
        if places and _crosses(node, walked, traced, label):
            return node
    return None


def _crosses(node: Node, walked: Walk, traced: Trace, label: int) -> bool:
    """Does what stands at one place of the batch get to another one."""
    found = links(node, walked) if not registry.find(node).reshapes else []
    for i, value in enumerate(node.inputs):
        axis = traced.find(value, label) if value else None
        mine = [link for link in found if link.input == i and link.axis == axis]
        if axis is None or not mine:
            continue
        whole = (0, walked.facts[value].shape[axis], 1)
        if not any(link.kind == "same" or (link.kind == "slice" and link.info == whole) for link in mine):
            return True
    return False
