"""The check behind a Loop that became a Scan: does it visit every position of its axis, once and in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import ShapeError
from ..graph.ir import Node
from ..ops import registry
from ..ops.control import Carried
from ..ops.registry import attr
from .count import count
from .scope import Scope
from .written import one_value

__all__ = ["check_steps"]


def check_steps(node: Node, scope: Scope) -> None:
    """Does the Loop that became a Scan visit every position of the axis, once and in order; see recognise/loops.py."""
    x = scope.facts[node.inputs[0]]
    axis, body = int(attr(node, "axis")), registry.subgraph(node, "body")
    if axis >= len(x.shape):
        raise ShapeError(f"{node}: axis {axis} lies outside a value of shape {list(x.shape)}")
    n = x.shape[axis]
    loop = replace(node, inputs=node.inputs[1:])
    most, start = one_value(loop, scope, 0), one_value(loop, scope, 1)
    carried = [Carried(2 + k, p.name, body.outputs[1 + k].name, k) for k, p in enumerate(body.inputs[2:])]
    again, index = body.outputs[0].name, body.outputs[-1].name
    counted = count(loop, body, body.inputs[0].name, body.inputs[1].name, carried, [again, index], scope)
    known = (
        counted is not None and (most is not None or not loop.inputs[0]) and (start is not None or not loop.inputs[1])
    )
    runs = n == most == 0 or start is None or bool(start) or n == 0
    if counted is not None and known and runs and n == 0:
        runs = most == 0 or not (start is None or start)
    elif counted is not None and known and runs:
        at = counted.sequence(index, n)
        want = np.arange(n)[::-1] if attr(node, "reverse", 0) else np.arange(n)
        runs = (
            counted.trips(again, None if most is None else int(most)) == n
            and at is not None
            and np.array_equal(at, want)
        )
    if not known or not runs:
        raise ShapeError(
            f"{node}: at these sizes the loop does not take the {n} positions of axis {axis} of {node.inputs[0]!r} one by "
            f"one (it would run {most} times); check the sizes that were fed"
        )
    scope.alias(node, node.inputs[0], node.outputs[0])
