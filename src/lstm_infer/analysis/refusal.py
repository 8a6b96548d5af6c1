"""What is said where a model cannot be streamed."""

from __future__ import annotations

from ..errors import NotStreamableError
from ..graph.ir import Node
from ..ops import recurrent, registry
from ..ops.control import Repeat

__all__ = ["WHOLE", "EachCallError", "MixedError", "mixed", "reason", "refusal"]

WHOLE = "needs the whole time axis at once"


class EachCallError(NotStreamableError):
    """The graph does something once a call, whatever its length: one step is then a call."""


class MixedError(NotStreamableError):
    """Time shares an axis with another, perhaps with the signals of a batch: it has it to itself where there is one."""


def mixed(node: Node, does: str) -> NotStreamableError:
    """The error of a node that takes an axis in which time is not alone, or not the outermost."""
    return refusal(node, f"{does} an axis in which time is mixed with another", MixedError)


def reason(node: Node) -> str:
    """Why time does not pass through a node, as a verb phrase."""
    if recurrent.is_recurrent(node):
        direction = str(node.attrs.get("direction", "forward")).lower()
        if direction != "forward":
            return f"direction is {direction}: it needs the end of the sequence first"
    if isinstance(node, Repeat) and any(s.reverse for s in node.scanned):
        return "runs backwards over the sequence, as one direction of a bidirectional layer does"
    return registry.find(node).why or WHOLE


def refusal(node: Node, why: str, kind: type[NotStreamableError] = NotStreamableError) -> NotStreamableError:
    """The error that names a node and the reason."""
    return kind(
        f"{node} {why}; the model cannot be streamed, run() takes the whole sequence",
        node=node.name,
        op=node.op,
        reason=why,
    )
