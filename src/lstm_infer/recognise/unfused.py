"""FusedGemm of com.microsoft (files that onnxruntime saved) as Gemm and its activation: cells are read from those, and
the planner joins the two again."""

from __future__ import annotations

from dataclasses import replace

from ..graph.ir import Graph, Node
from ..ops.registry import attr

__all__ = ["take_fused_apart"]

_PARAMETERS = {
    "Relu": (), "Sigmoid": (), "Tanh": (), "Softplus": (), "Softsign": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"),
}  # fmt: skip


def take_fused_apart(graph: Graph) -> None:
    """In place, subgraphs too."""
    for g in graph.graphs():
        g.nodes[:] = [part for node in g.nodes for part in _parts(node)]


def _parts(node: Node) -> list[Node]:
    name = str(attr(node, "activation", ""))
    if node.op != "FusedGemm" or node.domain != "com.microsoft" or name not in _PARAMETERS:
        return [node]
    between = f"{node.outputs[0]}/{node.name}/sum"
    given = {key: node.attrs.get(f"activation_{key}") for key in _PARAMETERS[name]}
    attrs = {key: value for key, value in given.items() if value is not None}
    product = {key: value for key, value in node.attrs.items() if not key.startswith("activation")}
    return [
        replace(node, op="Gemm", domain="", opset=13, outputs=[between], attrs=product),
        Node(name, f"{node.name}/{name}", [between], list(node.outputs), attrs, "", 14),
    ]
