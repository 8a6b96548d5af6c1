"""Where the signals of a batch meet, in a model that is fed several of them."""

from __future__ import annotations

from ..graph.ir import Node
from ..ops import registry
from .axes import trace
from .roles import Roles

__all__ = ["meeting_point"]


def meeting_point(roles: Roles) -> Node | None:
    """The node at which the signals of a batch meet: a mean over it, say. None: they stay apart."""
    if not roles.batch:
        return None
    walked = roles.walk(*roles.analysis_sizes())
    traced = trace(roles.inputs, walked)
    name, axis = next(iter(roles.batch.items()))
    label = traced.axes[name][axis][0].label
    for node in walked.nodes:
        if registry.find(node).stepwise:
            continue  # a scale over all that is fed at once is how such a model is defined
        if any(v and traced.find(v, label) is not None for v in node.inputs) and any(
            v and traced.find(v, label) is None for v in node.outputs
        ):
            return node
    return None
