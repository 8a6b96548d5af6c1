"""A file whose recurrent operators hide their states, changed so that they are inputs and outputs: then the other side
can be driven a step a call too, the states fed back by hand.

Only operators of the main graph are opened, by name. What was rewritten on our side has no name there, and stays hidden.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.spec import StreamSpec
from ..graph.ir import Graph
from ..ops.recurrent import is_recurrent
from .inputs import Feeds

if TYPE_CHECKING:
    import onnx

__all__ = ["Exposed", "expose"]

AT = {"h": (5, 1), "c": (6, 2)}
"""Which input of a recurrent operator a state begins with, and which output holds its last value."""


@dataclass(frozen=True)
class Exposed:
    """A file with its states exposed.

    Attributes
    ----------
    model : bytes
    states : dict of input name to output name
    labels : dict of input name to the name that the state has on our side
    seeds : dict of input name to output name
        Where a state does not begin with zeros: an output that holds what it begins with.
    """

    model: bytes
    states: Mapping[str, str]
    labels: Mapping[str, str]
    seeds: Mapping[str, str]

    def first(self, run: Callable[[Feeds], Feeds | None], feeds: Feeds, states: Mapping[str, Any]) -> Feeds | None:
        """The first states, as the other side computes them from the feeds; `states` of ours tell their sizes."""
        first = {
            name: np.zeros(_three(states[label].shape), states[label].dtype) for name, label in self.labels.items()
        }
        if self.seeds:
            out = run({**feeds, **first})
            if out is None:
                return None
            first |= {
                name: np.array(np.broadcast_to(out[seed], first[name].shape)) for name, seed in self.seeds.items()
            }
        return first


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that an operator gives a state of ours: one direction, batch, units."""
    return 1, shape[-2] if len(shape) > 1 else 1, shape[-1]


def expose(source: Any, graph: Graph, spec: StreamSpec) -> Exposed | None:
    """The file with all hidden states of a stream exposed; None where one of them cannot be found in it."""
    from onnx import helper

    model = _proto(source)
    operators = {node.name: node.op for node in graph.nodes if is_recurrent(node)}
    named = {node.name: node for node in model.graph.node if node.name and operators.get(node.name) == node.op_type}
    dtypes = {state.name: state.dtype for state in spec.states}
    if any(one.node not in named or one.what not in AT or _batch_leads(named[one.node]) for one in spec.carried):
        return None
    states, labels, seeds = {}, {}, {}
    for number, one in enumerate(spec.carried):
        node, (at, last) = named[one.node], AT[one.what]
        before, seed = f"exposed {number} before", f"exposed {number} seed"
        node.input.extend([""] * (at + 1 - len(node.input)))
        node.output.extend([""] * (last + 1 - len(node.output)))
        kind = helper.np_dtype_to_tensor_dtype(dtypes[one.label])
        if node.input[at]:
            model.graph.node.append(helper.make_node("Identity", [node.input[at]], [seed]))
            model.graph.output.append(helper.make_tensor_value_info(seed, kind, None))
            seeds[before] = seed
        node.input[at] = before
        node.output[last] = node.output[last] or f"exposed {number} after"
        model.graph.input.append(helper.make_tensor_value_info(before, kind, [None] * 3))
        if all(port.name != node.output[last] for port in model.graph.output):
            model.graph.output.append(helper.make_tensor_value_info(node.output[last], kind, [None] * 3))
        states[before], labels[before] = node.output[last], one.label
    return Exposed(model.SerializeToString(), states, labels, seeds)


def _batch_leads(node: onnx.NodeProto) -> bool:
    return any(a.name == "layout" and a.i for a in node.attribute)


def _proto(source: Any) -> onnx.ModelProto:
    """A copy that may be changed."""
    import onnx

    if isinstance(source, bytes):
        return onnx.load_from_string(source)
    if isinstance(source, (str, os.PathLike)):
        return onnx.load(os.fspath(source))
    copy = onnx.ModelProto()
    copy.CopyFrom(source)
    return copy
