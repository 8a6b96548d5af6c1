"""A file that hides its states, changed so that they are inputs and outputs: then the other side can be driven a step a
call too, the states fed back by hand.

Opened are recurrent operators of the main graph, by name; and, in a file of one step, loops that became one on our side.
What else was rewritten there has no name in the file, and stays hidden.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.spec import StreamSpec
from ..drive.inputs import Feeds
from ..graph.ir import Graph
from ..ops.recurrent import is_recurrent

if TYPE_CHECKING:
    import onnx

__all__ = ["Exposed", "expose"]

AT = {"h": (5, 1), "c": (6, 2)}
"""Which input of a recurrent operator a state begins with, and which output holds its last value."""


@dataclass
class Exposed:
    """A file with its states exposed.

    Attributes
    ----------
    model : onnx.ModelProto
    seeding : onnx.ModelProto
        The file as it is, with what the states begin with as outputs more.
    states : dict of input name to output name
    labels : dict of input name to the name that the state has on our side, where it has one
    seeds : dict of input name to output of `seeding`
        Other states begin with zeros.
    """

    model: onnx.ModelProto
    seeding: onnx.ModelProto
    states: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)

    def first(self, run: Callable[[Feeds], Feeds | None], feeds: Feeds, states: Mapping[str, Any]) -> Feeds | None:
        """The first states; `run`: the other side with `seeding`; `states` of ours tell their sizes."""
        out = run(feeds) if self.seeds else {}
        if out is None:
            return None
        first = {name: np.array(out[seed]) for name, seed in self.seeds.items()}
        for name, label in self.labels.items():
            shape = _three(states[label].shape)
            first[name] = np.array(np.broadcast_to(first.get(name, np.zeros((), states[label].dtype)), shape))
        return first

    def open(self, node: onnx.NodeProto, at: int, last: int, kind: int, label: str = "") -> None:
        """Make ports of a state: input `at` of a node, and its output `last`."""
        from onnx import helper

        before, seed = f"exposed {len(self.states)} before", f"exposed {len(self.states)} seed"
        node.input.extend([""] * (at + 1 - len(node.input)))
        node.output.extend([""] * (last + 1 - len(node.output)))
        if node.input[at]:
            self.seeding.graph.node.append(helper.make_node("Identity", [node.input[at]], [seed]))
            self.seeding.graph.output.append(helper.make_tensor_value_info(seed, kind, None))
            self.seeds[before] = seed
        node.input[at] = before
        node.output[last] = node.output[last] or f"exposed {len(self.states)} after"
        self.model.graph.input.append(helper.make_tensor_value_info(before, kind, None))
        if all(port.name != node.output[last] for port in self.model.graph.output):
            self.model.graph.output.append(helper.make_tensor_value_info(node.output[last], kind, None))
        self.states[before] = node.output[last]
        if label:
            self.labels[before] = label


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that an operator gives a state of ours: one direction, batch, units."""
    return 1, prod(shape[:-1]), shape[-1]


def expose(source: Any, graph: Graph, spec: StreamSpec, *, loops: bool) -> Exposed | None:
    """The file with all hidden states of a stream exposed; None where one of them cannot be found in it.

    `loops`: open loops too. What they carry may be more than states; in a file of one step, all of it goes on.
    """
    from onnx import helper

    made = Exposed(_proto(source), _proto(source))
    operators = {node.name: node.op for node in graph.nodes if is_recurrent(node)}
    named = {node.name: node for node in made.model.graph.node if node.name}
    dtypes = {state.name: helper.np_dtype_to_tensor_dtype(state.dtype) for state in spec.states}
    for one in spec.carried:
        node = named.get(one.node)
        if node is not None and operators.get(one.node) == node.op_type and one.what in AT and not _batch_leads(node):
            made.open(node, *AT[one.what], dtypes[one.label], one.label)
            continue
        loop = next((n for n in named.values() if n.op_type == "Loop" and one.node.startswith(f"{n.name}/")), None)
        if loop is None or not loops:
            return None
        for at, kind in _carried(loop, dtypes[one.label]):
            if loop.input[at] not in made.states:
                made.open(loop, at, at - 2, kind)
    return made


def _carried(loop: onnx.NodeProto, kind: int) -> list[tuple[int, int]]:
    """(input, type) of what a loop carries, of this type: counters begin anew in each call."""
    body = loop.attribute[[a.name for a in loop.attribute].index("body")].g
    return [
        (at, kind) for at, port in enumerate(body.input) if at >= 2 and port.type.tensor_type.elem_type in (kind, 0)
    ]


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
