"""Squeezes without axes, which take away whatever has the extent 1 by chance: in a stream also the time axis, at one step.

A stream takes away what a run over many steps takes away. So does the whole graph of it, at any number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

import numpy as np

from ..analysis.spec import StreamSpec
from ..errors import ShapeError
from ..frozen import frozen
from ..graph.edit import Names
from ..graph.fact import Fact
from ..graph.ir import Graph, Node
from ..ops import registry
from ..walk.walk import walk

__all__ = ["Named", "name_squeezed"]


@frozen
class Named:
    """A graph whose Squeezes over time name their axes."""

    graph: Graph
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Axes of extent 1 that an output has here, in front of its time axis, and not in a run of this batch."""


def name_squeezed(graph: Graph, spec: StreamSpec, facts: Mapping[str, Fact]) -> Named:
    """Name the axes, as a walk at many steps shows them; `facts`: the inputs at these sizes, with the stream's batch."""
    found = [node for node in graph.nodes if _is_open(node, spec)]
    if spec.mode != "time" or spec.roles.time_size == 1 or not found:
        return Named(graph)
    analysed, now = spec.roles.walk(*spec.roles.analysis_sizes()).facts, walk(graph, facts).facts
    names, consts = Names.of(graph), dict(graph.consts)
    dropped: dict[str, tuple[int, ...]] = {}
    renamed: dict[str, Node] = {}
    for node in found:
        value = node.inputs[0]
        axes = [a for a, n in enumerate(analysed[value].shape) if n == 1]
        more = [a for a, n in enumerate(now[value].shape) if n == 1 and a not in axes]
        front = [a for a in more if a < spec.time_axes[value]]
        if front:  # the time axis stands where the analysis found it
            gone = tuple(a - sum(b < a for b in axes) for a in front)
            dropped |= dict.fromkeys(_outputs_behind(graph, node, now), gone)
        name = names.fresh(f"{node.name}/axes")
        consts[name] = np.array([a for a in (*axes, *more) if a not in front], np.int64)
        renamed[node.name] = replace(node, inputs=[value, name])
    return Named(replace(graph, nodes=[renamed.get(node.name, node) for node in graph.nodes], consts=consts), dropped)


def _is_open(node: Node, spec: StreamSpec) -> bool:
    given = len(node.inputs) > 1 and bool(node.inputs[1])
    return node.op == "Squeeze" and not node.domain and not given and node.inputs[0] in spec.time_axes


def _outputs_behind(graph: Graph, node: Node, facts: Mapping[str, Fact]) -> list[str]:
    """The outputs that show what a Squeeze gives, element by element. What another node would make of it with an axis
    more is not known."""
    shown = {port.name for port in graph.outputs}
    todo, found = [node.outputs[0]], []
    while todo:
        value = todo.pop()
        found += [value] if value in shown else []
        for reader in graph.walk():
            if value not in reader.inputs:
                continue
            if not _one_by_one(reader, graph, facts):
                raise ShapeError(
                    f"{node} names no axes, so that it takes away the batch of 1 in front of time (its input is "
                    f"{list(facts[node.inputs[0]].shape)}): name its axes in the file, or stream a batch of 2"
                )
            todo += [name for name in reader.outputs if name]
    return found


def _one_by_one(node: Node, graph: Graph, facts: Mapping[str, Fact]) -> bool:
    """Does a node give one element for each of its first input, whatever its rank."""
    ins = [facts.get(name) if name else None for name in node.inputs]
    outs = [facts[name] for name in node.outputs if name in facts]
    if (
        len(outs) != 1
        or ins[0] is None
        or ins[0].shape != outs[0].shape
        or any(x is None or x.const is None or x.const.size != 1 for x in ins[1:])
    ):
        return False
    want = {(0, axis, 0, axis, "same") for axis in range(len(outs[0].shape))}
    return {(k.input, k.axis, k.output, k.out_axis, k.kind) for k in registry.find(node).flow(node, ins, outs)} == want
