"""A draft to an ONNX file, with what its caller has to know in its metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...graph.ir import Array, Graph, Node, Port
from .carry import Carry
from .draft import CODES, Draft

if TYPE_CHECKING:
    import onnx

__all__ = ["IR_VERSION", "model_of", "state_records", "tidied"]

IR_VERSION = 8
"""Of the file: the oldest that has all that is written here, up to opset 18; later opsets need the next ones."""


def model_of(draft: Draft, name: str, metadata: Mapping[str, Any], said: Mapping[str, Any]) -> onnx.ModelProto:
    """The file. Constants are initializers, nodes stand in order. said: what the source says of itself (`Graph.meta`)."""
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        [_node(node) for node in draft.nodes],
        name,
        [_port(port) for port in draft.inputs],
        [_port(port) for port in draft.outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in draft.consts.items()],
    )
    version = max(IR_VERSION, helper.OP_SET_ID_VERSION_MAP.get(("ai.onnx", draft.opset), IR_VERSION))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", draft.opset)],
        producer_name="lstm_infer",
        ir_version=version,
    )
    props = {key: json.dumps(value) for key, value in metadata.items()}
    helper.set_model_props(model, {**said.get("custom_metadata_map", {}), **props})
    model.domain, model.doc_string = said.get("domain", ""), said.get("description", "")
    model.model_version = said.get("version", 0)
    return model


def _port(port: Port) -> onnx.ValueInfoProto:
    from onnx import helper

    shape = None if port.shape is None else list(port.shape)
    return helper.make_tensor_value_info(port.name, CODES[port.dtype.name], shape)


def _node(node: Node) -> onnx.NodeProto:
    from onnx import helper

    made = helper.make_node(node.op, node.inputs, node.outputs, name=node.name)
    for key, value in node.attrs.items():
        made.attribute.append(_attribute(key, value))
    return made


def _attribute(key: str, value: Any) -> onnx.AttributeProto:
    from onnx import AttributeProto, helper, numpy_helper

    if isinstance(value, Graph):
        body = helper.make_graph(
            [_node(node) for node in value.nodes],
            value.name,
            [_port(p) for p in value.inputs],
            [_port(p) for p in value.outputs],
        )
        return helper.make_attribute(key, body)
    if isinstance(value, np.ndarray):
        return helper.make_attribute(key, numpy_helper.from_array(value))
    kind = AttributeProto.INTS if value == [] else None
    return helper.make_attribute(key, value, attr_type=kind)


def tidied(draft: Draft) -> Draft:
    """Without nodes and constants that nothing reads, and without Identities in front of outputs."""
    outputs = {port.name for port in draft.outputs}
    made = {name: node for node in draft.nodes for name in node.outputs if name}
    inputs = {port.name for port in draft.inputs}
    renamed: dict[str, str] = {}
    for node in draft.nodes:
        if node.op == "Identity" and node.outputs[0] in outputs:
            source = node.inputs[0]
            if source in made and source not in outputs | inputs and source not in renamed:
                renamed[source] = node.outputs[0]
    gone = {
        id(node) for node in draft.nodes if node.op == "Identity" and renamed.get(node.inputs[0]) == node.outputs[0]
    }
    nodes = [_renamed(node, renamed) for node in draft.nodes if id(node) not in gone]
    needed, kept = set(outputs), list[Node]()
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed |= _reads(node)
    consts: dict[str, Array] = {name: array for name, array in draft.consts.items() if name in needed}
    draft.nodes, draft.consts = kept[::-1], consts
    return draft


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    node.inputs = [names.get(name, name) for name in node.inputs]
    node.outputs = [names.get(name, name) for name in node.outputs]
    for body in node.subgraphs():
        body.nodes = [_renamed(inner, names) for inner in body.nodes]
    return node


def _reads(node: Node) -> set[str]:
    found = {name for name in node.inputs if name}
    for body in node.subgraphs():
        found |= {port.name for port in body.outputs}
        for inner in body.nodes:
            found |= _reads(inner)
    return found


def state_records(carries: Sequence[Carry], ports: Mapping[str, Port]) -> list[dict[str, Any]]:
    """What the metadata say of each state. `first`: a number that all of it holds, or `data`: the bytes of one signal
    (little-endian, base64) in the shape `data_shape`."""
    found = []
    for carry in carries:
        first = np.asarray(carry.first)
        record: dict[str, Any] = {
            "input": carry.name,
            "output": carry.after,
            "shape": list(ports[carry.name].shape or ()),
            "dtype": carry.dtype.name,
            "kind": carry.kind,
            "of": carry.label,
        }
        if first.size and (first == first.reshape(-1)[0]).all():
            record["first"] = first.reshape(-1)[0].item()
        else:
            whole = np.ascontiguousarray(first, carry.dtype.newbyteorder("<"))
            record |= {"data_shape": list(first.shape), "data": base64.b64encode(whole.tobytes()).decode()}
        found.append(record)
    return found
