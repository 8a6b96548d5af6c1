"""Scalar inputs that choose between networks: looped where each of them streams, and keeps no state to itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ops.control import Choice
from ..walk.walk import Walk
from .follow import input_states
from .refusal import refusal
from .roles import Roles
from .spec import StreamSpec

__all__ = ["switched"]


def switched(roles: Roles, walked: Walk, analyse: Callable[[Roles], StreamSpec]) -> StreamSpec:
    """How a model streams in which scalars choose; `analyse` reads each of the networks."""
    found = []
    for values in roles.switches:
        mine = replace(roles, constants={**roles.constants, **values}, switches=[])
        mine.inputs = [port for port in roles.inputs if port.name not in values]
        found.append(analyse(mine))
    one = found[0]
    for spec in found:
        alike = (spec.outputs, spec.pairs, spec.mode) == (one.outputs, one.pairs, "time")
        if not alike or spec.carried or spec.windows:
            choice = next(node for node in walked.nodes if isinstance(node, Choice))
            named = ", ".join(f"{name!r}: {value}" for name, value in roles.switches[0].items())
            raise refusal(
                choice,
                f"chooses between networks that stream in different ways; choose with load(..., constants={{{named}}})",
            )
    roles = roles.without_states(one.pairs)
    side = tuple(p.name for p in roles.inputs if p.name not in roles.time and p.name not in one.pairs)
    return replace(one, mode="loop", roles=roles, side=side, states=tuple(input_states(roles, walked, one.pairs)))
