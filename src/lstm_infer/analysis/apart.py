"""Why the signals of a pool are stepped one at a time, where the model takes no batch of them."""

from __future__ import annotations

from collections.abc import Sequence

from .meeting import meeting_point
from .spec import StreamSpec

__all__ = ["why_apart"]


def why_apart(spec: StreamSpec, side: Sequence[str] = ()) -> str:
    """Why no two signals can be stepped in one batch; empty where they can. `side`: side inputs that are fed with each step."""
    if spec.one_signal:
        return spec.one_signal
    if spec.alone is not None:
        return "one signal streams in another way than several"
    if spec.roles.batch_size is not None:
        return f"the file is fixed to a batch of {spec.roles.batch_size}"
    if not spec.roles.batch:
        return "the model has no batch axis"
    for info in spec.states:
        if info.batch_axis is None:
            return f"state {info.name!r} has no batch axis"
    for name in (*spec.streamed, *side):
        if name not in spec.roles.batch:
            return f"input {name!r} has no batch axis"
    node = meeting_point(spec.roles, places=True)
    return "" if node is None else f"{node} brings the signals of a batch together"
