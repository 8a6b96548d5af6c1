"""Models without a time axis: every call is one step, and the states come back as inputs."""

from __future__ import annotations

from typing import NoReturn

from ..errors import NotStreamableError
from ..graph.ir import Graph, Node
from ..ops import carries, registry
from ..walk.walk import Walk
from .axes import links
from .follow import input_states, visible
from .ground import time_label
from .labels import Trace
from .refusal import WHOLE, reason, refusal
from .roles import Roles
from .spec import OutputSpec, StreamSpec
from .states import Pairs

__all__ = ["frame_spec", "loop_spec"]


def frame_spec(graph: Graph, roles: Roles, walked: Walk, traced: Trace, pairs: Pairs) -> StreamSpec:
    """A model whose states are fed from call to call; refused where there is none."""
    if not pairs:
        _refuse_memoryless(walked, traced)
    fed = [p.name for p in roles.inputs if p.name not in pairs]
    return StreamSpec(
        "frame",
        roles,
        tuple(name for name in fed if walked.facts[name].shape),
        tuple(name for name in fed if not walked.facts[name].shape),
        pairs,
        tuple(OutputSpec(name, "frame") for name in visible(graph, pairs)),
        states=tuple(input_states(roles, walked, pairs)),
    )


def loop_spec(graph: Graph, roles: Roles, walked: Walk, traced: Trace, pairs: Pairs) -> StreamSpec:
    """The same for a model that has a time axis and is run one step at a time."""
    fed = [p.name for p in roles.inputs if p.name not in pairs]
    label = time_label(roles, traced)
    axes = {name: _one_step_axis(name, roles, walked, traced, label) for name in visible(graph, pairs)}
    return StreamSpec(
        "loop",
        roles,
        tuple(name for name in fed if name in roles.time),
        tuple(name for name in fed if name not in roles.time),
        pairs,
        tuple(OutputSpec(n, "frame") if a is None else OutputSpec(n, "time", a) for n, a in axes.items()),
        states=tuple(input_states(roles, walked, pairs)),
    )


def _one_step_axis(name: str, roles: Roles, walked: Walk, traced: Trace, label: int) -> int | None:
    """The time axis of an output that holds one step: among axes of extent 1 the one that the input has it at, where the
    two are laid out alike."""
    found = traced.find(name, label)
    source, axis = next(iter(roles.time.items()))
    before, after = walked.facts[source].shape, walked.facts[name].shape
    alike = len(before) == len(after) and after[axis] == before[axis] == 1
    return axis if found is not None and alike else found


def _refuse_memoryless(walked: Walk, traced: Trace) -> NoReturn:
    inside = [n for n in walked.nodes if carries.carries(n)]
    node = inside[0] if inside else None
    if node is not None and reason(node) != WHOLE:
        raise refusal(node, reason(node))
    raise NotStreamableError(
        "the model has no time axis and no state: no recurrence runs over an axis of an input, and no output is the "
        "next value of an input; use run()" + (_inside_frame(node, walked, traced) if node else ""),
        node=node.name if node else "",
        op=node.op if node else "",
        reason="no time axis and no state",
    )


def _inside_frame(node: Node, walked: Walk, traced: Trace) -> str:
    """What a recurrence that runs over no input axis runs over."""
    lost = next((n for i, a in carries.runs_over(node) if (n := _where_lost(node.inputs[i], a, walked, traced))), None)
    if lost is None:
        return f" ({node} runs inside one frame)"
    return f" ({node} runs over an axis that begins at {lost}, which {reason(lost)})"


def _where_lost(value: str, axis: int, walked: Walk, traced: Trace) -> Node | None:
    """The node at which an axis without a label stops being one of an input's; None: it never was."""
    makers = {name: node for node in walked.nodes for name in node.outputs if name}
    while value in makers:
        node = makers[value]
        source = node.inputs[0]
        if any(f.label for f in traced.axes.get(value, [()] * (axis + 1))[axis]):
            return None
        if registry.find(node).reshapes:
            before, after = (
                {traced.root(f.label) for factors in traced.axes.get(name, ()) for f in factors if f.label}
                for name in (source, value)
            )
            return node if before - after else None
        output = node.outputs.index(value)
        found = [x for x in links(node, walked) if x.output == output and x.out_axis == axis]
        if not found:
            named = axis < len(traced.axes.get(source, ())) and any(f.label for f in traced.axes[source][axis])
            return node if named else None
        value, axis = node.inputs[found[0].input], found[0].axis
    return None
