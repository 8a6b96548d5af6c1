"""What is said where a model cannot be streamed."""

from __future__ import annotations

from ..errors import NotStreamableError
from ..graph.ir import Node
from ..ops import carries, recurrent, registry
from ..ops.control import Repeat
from .roles import Roles

__all__ = ["WHOLE", "EachCallError", "MixedError", "mixed", "reason", "refusal", "refuse_unknown"]

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


def refuse_unknown(roles: Roles) -> None:
    """Sizes that were not found, and several time axes."""
    if roles.walkable:
        sizes = ", ".join(f"{name!r}: {shape}" for name, shape in roles.shown_sizes().items())
        raise NotStreamableError(
            f"the sizes of the inputs are open and could not be found: {roles.walkable}; "
            f"fix them with load(..., inputs={{{sizes}}}), a number for each that is open",
            reason=roles.walkable,
        )
    if roles.bases and not roles.time:
        raise _two_bases(roles)
    if len(roles.candidates) > 1:
        inside = [n for n in roles.walk(*roles.analysis_sizes()).nodes if carries.carries(n)]
        shown = " or ".join(f"load(..., time_axis={c})" for c in roles.candidates)
        apart = len({frozenset(c) for c in roles.candidates}) > 1
        then = ": the inputs of the others are then bound by stream(inputs=)" if apart else ""
        raise NotStreamableError(
            f"the model has {len(roles.candidates)} independent time axes (as far as {inside[-1]}); choose one with {shown}{then}",
            node=inside[-1].name,
            op=inside[-1].op,
            reason="several time axes",
        )


def _two_bases(roles: Roles) -> NotStreamableError:
    """Inputs whose steps are of different lengths."""
    slow = min(roles.bases.values())
    told = [
        f"{n // slow if n % slow == 0 else f'{n}/{slow}'} of {name!r} (axis {axis})"
        for (name, axis), n in roles.bases.items()
    ]
    return NotStreamableError(
        f"the inputs have time bases in a fixed ratio, {' to '.join(told)} steps; a stream feeds one step of each at a "
        "time; use run(), or export the faster one with the steps of a frame in an axis of their own",
        reason="time bases in a fixed ratio",
    )
