"""BatchNormalization behind a Conv, ConvTranspose or Gemm with constant weights: folded into weights and bias.

    scale (W x + b - mean) / sqrt(var + epsilon) + B  =  (f W) x + f (b - mean) + B      f = scale / sqrt(var + epsilon)

Computed in float64, rounded once. Only where nothing else reads the result of the first node. It depends on the graph
alone, so that every plan of a model rounds alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir import Array, Graph, Node

__all__ = ["fold_batchnorm"]


def fold_batchnorm(graph: Graph) -> int:
    """Fold what can be folded, in place; returns how many nodes went."""
    graphs = list(_graphs(graph, {}))
    readers = Counter(name for node in graph.walk() for name in node.inputs if name)
    for g, _ in graphs:
        readers.update(port.name for port in g.outputs)
    return sum(_fold_into(g, consts, readers) for g, consts in graphs)


def _graphs(graph: Graph, outer: Mapping[str, Array]) -> Iterator[tuple[Graph, dict[str, Array]]]:
    """Every graph, with the constants it sees. An input with a default may be fed: it is none."""
    consts = {**outer, **graph.consts}
    for port in graph.inputs:
        consts.pop(port.name, None)
    yield graph, consts
    for node in graph.nodes:
        for value in node.attrs.values():
            for sub in value if isinstance(value, list) else [value]:
                if isinstance(sub, Graph):
                    yield from _graphs(sub, consts)


def _fold_into(g: Graph, consts: Mapping[str, Array], readers: Mapping[str, int]) -> int:
    made = {name: index for index, node in enumerate(g.nodes) for name in node.outputs if name}
    nodes: list[Node | None] = list(g.nodes)
    done = 0
    for index, norm in enumerate(g.nodes):
        if norm.op != "BatchNormalization" or norm.domain != "" or len([n for n in norm.outputs if n]) != 1:
            continue
        place = made.get(norm.inputs[0])
        first = None if place is None else nodes[place]
        params = [consts.get(name) for name in norm.inputs[1:5]]
        if first is None or place is None or readers[norm.inputs[0]] != 1 or len(params) != 4:
            continue
        folded = _folded(first, consts, params, float(np.float32(norm.attrs.get("epsilon", 1e-5))))  # type: ignore[arg-type]
        if folded is None:
            continue
        weights, bias = f"{norm.name}/folded_weights", f"{norm.name}/folded_bias"
        g.consts[weights], g.consts[bias] = folded
        inputs = [first.inputs[0], weights, bias]
        nodes[place] = None
        # where the second node stood: its other inputs are constants
        nodes[index] = replace(first, inputs=inputs, outputs=[norm.outputs[0]])
        made[norm.outputs[0]] = index
        done += 1
    if done:
        g.nodes[:] = [node for node in nodes if node is not None]
    return done


def _folded(node: Node, consts: Mapping[str, Array], params: list[Any], epsilon: float) -> tuple[Array, Array] | None:
    """Weights and bias with the normalisation in them; None where that cannot be said."""
    w: Any = consts.get(node.inputs[1]) if len(node.inputs) > 1 else None
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias: Any = consts.get(bias_name)
    if node.domain != "" or node.op not in ("Conv", "ConvTranspose", "Gemm") or any(p is None for p in params):
        return None
    if w is None or w.dtype != np.float32 or w.ndim < 2 or (bias_name and bias is None):
        return None
    if any(p.dtype != np.float32 or p.shape != params[0].shape for p in params):
        return None
    scale, shift, mean, var = (p.astype(np.float64) for p in params)
    factor = scale / np.sqrt(var + epsilon)
    filters = len(factor)
    if bias is not None and bias.shape != (filters,):
        return None
    wide = w.astype(np.float64)
    if node.op == "Conv":
        if w.shape[0] != filters:
            return None
        new = wide * factor.reshape(-1, *([1] * (w.ndim - 1)))
    elif node.op == "ConvTranspose":
        groups = int(node.attrs.get("group", 1))  # type: ignore[arg-type]
        if w.shape[1] * groups != filters or w.shape[0] % groups:
            return None
        parts = wide.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        new = (parts * factor.reshape(groups, 1, w.shape[1], *([1] * (w.ndim - 2)))).reshape(w.shape)
    else:
        if node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0:
            return None
        axis = 0 if node.attrs.get("transB", 0) else 1
        if w.shape[axis] != filters:
            return None
        new = wide * (factor[:, None] if axis == 0 else factor)
    start = 0.0 if bias is None else bias.astype(np.float64)
    moved = (start - mean) * factor + shift
    if not (np.isfinite(new).all() and np.isfinite(moved).all()):
        return None
    return new.astype(np.float32), moved.astype(np.float32)
