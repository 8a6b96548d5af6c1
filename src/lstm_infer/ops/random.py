"""RandomNormal-22, RandomUniform-22 and their Like forms (1), Multinomial-22 (7), Bernoulli-22 (15).

Drawn on the host from NumPy generators, one for each node of a plan: seeded by load(seed=), else by the node's own
seed, else by the system. The numbers are not those of onnxruntime; their distribution is. They are drawn in the order of
the calls, block by block: a sequence in pieces gets others than the whole, though from the same distribution.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.calls import HostCall
from .common import onnx_dtype
from .registry import Op, attr, need, register, unsupported


def _dtype(node: Node, ins: Sequence[Any]) -> np.dtype[Any]:
    code = attr(node, "dtype", None)
    if code is not None:
        return onnx_dtype(node, int(code))
    if node.op.endswith("Like") or node.op == "Bernoulli":
        like: np.dtype[Any] = need(node, ins, 0).dtype
        return like
    return np.dtype(np.int32 if node.op == "Multinomial" else np.float32)


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    dtype = _dtype(node, ins)
    if node.op in ("RandomNormal", "RandomUniform"):
        return [Fact(tuple(int(n) for n in attr(node, "shape")), _float(node, dtype))]
    x: Fact = need(node, ins, 0)
    if node.op == "Multinomial":
        if len(x.shape) != 2 or x.shape[1] == 0:
            raise ShapeError(f"{node}: takes [batch, classes], got {list(x.shape)}")
        if dtype.name not in ("int32", "int64"):
            raise unsupported(node, f"element type {dtype}")
        size = int(attr(node, "sample_size", 1))
        if size < 1:
            raise OnnxImportError(f"{node}: sample_size is {size}, below 1; the file is broken")
        return [Fact((x.shape[0], size), dtype)]
    return [Fact(x.shape, dtype if node.op == "Bernoulli" else _float(node, dtype))]


def _float(node: Node, dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind != "f":
        raise unsupported(node, f"element type {dtype}")
    return dtype


def draw(node: Node, ins: Sequence[Array | None], rng: np.random.Generator) -> Array:
    """One result."""
    dtype = _dtype(node, ins)
    if node.op == "Multinomial":
        x: Any = np.asarray(need(node, ins, 0), np.float64)
        p = np.exp(x - x.max(axis=1, keepdims=True))
        total = np.cumsum(p, axis=1)
        at = rng.random((len(x), int(attr(node, "sample_size", 1)), 1)) * total[:, None, -1:]
        return np.asarray(np.minimum((at >= total[:, None]).sum(2), x.shape[1] - 1)).astype(dtype)
    if node.op == "Bernoulli":
        return np.asarray(rng.random(need(node, ins, 0).shape) < need(node, ins, 0)).astype(dtype)
    shape = need(node, ins, 0).shape if node.op.endswith("Like") else tuple(attr(node, "shape"))
    if node.op.startswith("RandomNormal"):
        return rng.normal(attr(node, "mean", 0.0), attr(node, "scale", 1.0), shape).astype(dtype)
    return rng.uniform(attr(node, "low", 0.0), attr(node, "high", 1.0), shape).astype(dtype)


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    return [draw(node, ins, _generator(node, None))]


def _generator(node: Node, seed: int | None) -> np.random.Generator:
    if seed is not None:
        return np.random.default_rng([seed, zlib.crc32(node.name.encode())])
    own = attr(node, "seed", None)
    return np.random.default_rng(None if own is None else np.float32(own).view(np.uint32))


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    if not ins:
        return []
    return [Link(0, axis, 0, axis) for axis in range(1 if node.op == "Multinomial" else len(outs[0].shape))]


def lower(node: Node, b: Builder) -> None:
    rng, lock = _generator(node, b.seed), threading.Lock()

    def drawn(node: Node, ins: list[Array | None]) -> list[Array]:
        with lock:
            return [draw(node, ins, rng)]

    ins = [b.dense(b.view(name)) for name in node.inputs]
    dtypes: list[np.dtype[Any] | None] = [b.fact(name).dtype for name in node.inputs]
    b.add(HostCall(node, drawn, list(ins), [b.new(node.outputs[0])], dtypes, str(node)))


for _name in ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"):
    register(
        Op(_name, infer, evaluate, flow, lower, random=True, runs="host", note="equal in distribution to onnxruntime")
    )
