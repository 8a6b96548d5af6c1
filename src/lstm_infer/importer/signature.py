"""What a file says, as two digests that stay as they are from release to release: of its weights, and of its graph.

They are taken of the file, not of what is made of it: rewrites get better with time. docs/snapshots.md has the definition.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from lstm_infer.graph.digest import digest
from lstm_infer.graph.ir import Array
from lstm_infer.importer.tree import domain_of

__all__ = ["graph_digest", "weights_digest"]


def weights_digest(consts: Mapping[str, Array]) -> bytes:
    """32 bytes of the constants that an output needs, by name."""
    return digest({name: digest(array) for name, array in consts.items()})


def graph_digest(model: onnx.ModelProto) -> bytes:
    """32 bytes of the nodes as the file has them, of its ports and its functions. Names of nodes do not count, nor do the
    declared shapes. The file was read before, so that its depth is bounded."""
    functions = sorted(function.SerializeToString(deterministic=True) for function in model.functions)
    opsets = {domain_of(item.domain): item.version for item in model.opset_import}
    return digest(_graph(model.graph), functions, opsets)


def _graph(graph: onnx.GraphProto) -> list[object]:
    held = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [[port.name, port.type.tensor_type.elem_type] for port in graph.input if port.name not in held]
    return [inputs, [port.name for port in graph.output], *(part for node in graph.node for part in _node(node))]


def _node(node: onnx.NodeProto) -> list[object]:
    """The node as protobuf, without its name and what is written about it; the graphs that it holds behind it."""
    if node.op_type == "Constant" and domain_of(node.domain) == "":
        return [list(node.output)]  # one of the weights
    bodies = [
        attr for attr in node.attribute if attr.type in (attr.GRAPH, attr.GRAPHS) or attr.HasField("g") or attr.graphs
    ]
    plain = onnx.NodeProto()
    if bodies:  # not copied
        names = [attr.name for attr in bodies]
        plain.op_type, plain.domain = node.op_type, node.domain
        plain.input.extend(node.input)
        plain.output.extend(node.output)
        plain.attribute.extend(attr for attr in node.attribute if attr.name not in names)
    else:
        plain.CopyFrom(node)
        for field in ("name", "doc_string", "metadata_props"):
            if field in plain.DESCRIPTOR.fields_by_name:
                plain.ClearField(field)
    found: list[object] = [plain.SerializeToString(deterministic=True)]
    for attr in bodies:
        graphs = [attr.g] if attr.HasField("g") else list(attr.graphs)
        found.append([attr.name, *map(_graph, graphs)])
    return found
