"""Several steps in one call, for models that are right one step at a time: the step is the body of a Scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...analysis.spec import StreamSpec
from ...graph.fact import Fact
from ...graph.ir import AttrValue, Graph, Node, Port
from .carry import Carry
from .draft import Draft

__all__ = ["in_turn"]


def in_turn(draft: Draft, spec: StreamSpec, carries: Sequence[Carry], n: int) -> Draft:
    """n steps one behind the other: along the time axis, or as rows of frames."""
    states = {carry.name: carry.after for carry in carries}
    ports = {port.name: port for port in draft.inputs}
    streamed = [name for name in ports if name in spec.streamed]
    results = [port.name for port in draft.outputs if port.name not in states.values()]
    timed = spec.mode != "frame"
    axes = {name: spec.roles.time[name] if timed else -1 for name in streamed}
    called = {output.name: draft.called.get(output.name, output.name) for output in spec.outputs}
    axes |= {called[output.name]: output.axis if output.kind == "time" else -1 for output in spec.outputs}
    names = {name: draft.names.fresh(f"{name}/inside") for name in (*states, *states.values(), *streamed, *results)}
    draft.facts |= {new: draft.facts[old] for old, new in names.items()}
    steps, draft.nodes = [_renamed(node, names) for node in draft.nodes], []
    with draft.inside() as nodes:
        frames = [_entered(draft, names[name], axes[name]) for name in streamed]
        nodes += steps
        after = [names[name] for name in states.values()]
        after += [_left(draft, names[name], axes[name]) for name in results]
    body = draft.body("step", nodes, [*(names[name] for name in states), *frames], after)
    attrs: dict[str, AttrValue] = {
        "body": body,
        "num_scan_inputs": len(streamed),
        "scan_input_axes": [max(axes[name], 0) for name in streamed],
        "scan_output_axes": [max(axes[name], 0) for name in results],
    }
    many = ("time",) if timed else ("frame",)
    once = {called[output.name] for output in spec.outputs if output.kind not in many}
    rows_of = {name: draft.names.fresh(f"{name}/rows") if name in once else name for name in results}
    outs = [*states.values(), *rows_of.values()]
    facts = [draft.facts[name] for name in states.values()]
    facts += [
        _stacked(draft.facts[made], n, axes[name]) for made, name in zip(after[len(states) :], results, strict=True)
    ]
    draft.put(Node("Scan", draft.names.fresh("steps"), [*states, *streamed], outs, attrs, "", draft.opset), facts)
    for name, rows in rows_of.items():
        if name in once:
            fact = draft.facts[rows]
            draft.op("Gather", [rows, draft.const(n - 1, np.int64)], fact.shape[1:], fact.dtype, {"axis": 0}, name)
    draft.inputs = [_several(port, n, axes[port.name]) if port.name in streamed else port for port in draft.inputs]
    draft.outputs = [draft.port(port.name) for port in draft.outputs]
    return draft


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    attrs: dict[str, AttrValue] = {}
    for key, value in node.attrs.items():
        attrs[key] = (
            replace(value, nodes=[_renamed(n, names) for n in value.nodes]) if isinstance(value, Graph) else value
        )
    inputs = [names.get(name, name) for name in node.inputs]
    return replace(node, inputs=inputs, outputs=[names.get(name, name) for name in node.outputs], attrs=attrs)


def _entered(draft: Draft, name: str, axis: int) -> str:
    """What a step gets of a sequence, from which a frame `name` is made; a row of frames has it as it is."""
    fact = draft.facts[name]
    if axis < 0:
        return name
    row = draft.names.fresh(f"{name}/row")
    draft.facts[row] = Fact((*fact.shape[:axis], *fact.shape[axis + 1 :]), fact.dtype)
    draft.op("Unsqueeze", [row, draft.ints(axis)], fact.shape, fact.dtype, out=name)
    return row


def _left(draft: Draft, name: str, axis: int) -> str:
    """What a step gives to a sequence."""
    fact = draft.facts[name]
    if axis < 0:
        return name
    return draft.op("Squeeze", [name, draft.ints(axis)], (*fact.shape[:axis], *fact.shape[axis + 1 :]), fact.dtype)


def _stacked(fact: Fact, n: int, axis: int) -> Fact:
    place = max(axis, 0)
    return Fact((*fact.shape[:place], n, *fact.shape[place:]), fact.dtype)


def _several(port: Port, n: int, axis: int) -> Port:
    shape = list(port.shape or ())
    if axis < 0:
        return Port(port.name, port.dtype, (n, *shape))
    shape[axis] = n
    return Port(port.name, port.dtype, tuple(shape))
