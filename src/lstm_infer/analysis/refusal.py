"""What is said where a model cannot be streamed."""

from __future__ import annotations

from ..errors import NotStreamableError
from ..graph.ir import Node
from ..ops import recurrent, registry

__all__ = ["WHOLE", "EachCallError", "reason", "refusal"]

WHOLE = "needs the whole time axis at once"


class EachCallError(NotStreamableError):
    """The graph does something once a call, whatever its length: one step is then a call."""


def reason(node: Node) -> str:
    """Why time does not pass through a node, as a verb phrase."""
    if recurrent.is_recurrent(node):
        direction = str(node.attrs.get("direction", "forward")).lower()
        if direction != "forward":
            return f"direction is {direction}: it needs the end of the sequence first"
    return registry.find(node).why or WHOLE


def refusal(node: Node, why: str, kind: type[NotStreamableError] = NotStreamableError) -> NotStreamableError:
    """The error that names a node and the reason."""
    return kind(
        f"{node} {why}; the model cannot be streamed, run() takes the whole sequence",
        node=node.name,
        op=node.op,
        reason=why,
    )
