"""DynamicQuantizeLSTM in standard operators: products of integers, and the gates around them, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ConvertError
from ...graph.ir import Node
from ...ops import recurrent
from ...ops.registry import attr

if TYPE_CHECKING:
    from .draft import Draft
    from .scene import Scene

__all__ = ["dynamic_product", "dynamic_sums", "put_quantised", "zeros_of"]


def dynamic_product(d: Draft, x: str, w: str, scale: str, zero: str) -> str:
    """x [..., K], rounded to 8 bits by its range, times w [K, M] of 8 bits: exact sums, brought to their scale."""
    shape = (*d.facts[x].shape[:-1], d.facts[w].shape[-1])
    return dynamic_sums(
        d, x, scale, lambda q, x_zero: d.op("MatMulInteger", [q, w, x_zero, *zeros_of(d, zero)], shape, np.int32)
    )


def zeros_of(d: Draft, zero: str) -> list[str]:
    """Zero points of weights, where they say anything."""
    known = d.facts[zero].const
    return [zero] if known is None or known.any() else []  # shared by many, onnxruntime's exact sums refuse it


def dynamic_sums(d: Draft, x: str, scale: str, sums: Callable[[str, str], str]) -> str:
    """The sums of x rounded to 8 bits by its range, and its zero point, brought to their scale."""
    q, x_scale, x_zero = (d.names.fresh(f"{x}/{part}") for part in ("rounded", "scale", "zero"))
    u8, f32 = np.dtype(np.uint8), np.dtype(np.float32)
    fact = d.facts[x]
    facts = [fact._replace(dtype=u8), fact._replace(shape=(), dtype=f32), fact._replace(shape=(), dtype=u8)]
    name = d.names.fresh("DynamicQuantizeLinear")
    d.put(Node("DynamicQuantizeLinear", name, [x], [q, x_scale, x_zero], {}, "", d.opset), facts)
    return d.same("Mul", [d.cast(sums(q, x_zero), np.float32), d.same("Mul", [x_scale, scale])])


def put_quantised(em: Scene, node: Node, x: str, before: Mapping[str, str], sizes: tuple[int, int, int]) -> list[str]:
    """Y and the last states of one direction, its steps one behind the other."""
    d, (T, B, H) = em.d, sizes
    usual = recurrent.defaults(node)
    names = [str(name) for name in (attr(node, "activations", None) or usual)]
    if len(recurrent.directions(node)) > 1 or [n.lower() for n in names] != [n.lower() for n in usual]:
        raise ConvertError(f"{node}: two directions, or activations other than {', '.join(usual)}, are not written")
    w, r = (_matrix(em, node, index) for index in (1, 2))
    known = [em.value(v) for v in node.inputs]
    bias = np.zeros(8 * H, np.float32) if not known[3] else np.asarray(em.fact(node.inputs[3]).const)[0]
    peephole = np.zeros((3, 1, H), np.float32)
    if known[7]:
        peephole = np.asarray(em.fact(node.inputs[7]).const)[0].reshape(3, 1, H)
    zeros = d.op("Expand", [d.const(0.0, np.float32), d.const([B, H], np.int64, "shape")], (B, H))
    h, c = (d.reshaped(before[what], (B, H)) if before[what] else zeros for what in ("h", "c"))
    I = d.facts[x].shape[2]
    zx = dynamic_product(d, d.reshaped(x, (T * B, I)), *w)
    rows = []
    for t in range(T):
        z = d.same("Add", [d.part(zx, 0, t * B, B), dynamic_product(d, h, *r)])
        z = d.same("Add", [z, d.const(bias[: 4 * H] + bias[4 * H :], np.float32, "bias")])
        h, c = _cell(d, node, z, c, [d.const(p, np.float32, "peephole") for p in peephole])
        rows.append(d.reshaped(h, (1, 1, B, H)))
    return [d.joined(rows, 0), d.reshaped(h, (1, B, H)), d.reshaped(c, (1, B, H))]


def _matrix(em: Scene, node: Node, index: int) -> tuple[str, str, str]:
    """Weights, scale and zero point of the one direction."""
    at = 8 + 2 * (index - 1)
    w, scale, zero = (em.fact(node.inputs[i]).const for i in (index, at, at + 1))
    assert w is not None and scale is not None and zero is not None
    d, one = em.d, w.shape[-1] == scale.size
    found = [scale.reshape(-1) if one else scale.reshape(()), zero.reshape(-1) if zero.size > 1 else zero.reshape(())]
    return d.const(w[0], hint="weights"), d.const(found[0], np.float32), d.const(found[1])


def _cell(d: Draft, node: Node, z: str, c: str, peephole: list[str]) -> tuple[str, str]:
    """h and c behind a step."""
    shape = d.facts[c].shape
    H = shape[1]
    zi, zo, zf, zc = (d.part(z, 1, k * H, H) for k in range(4))
    limit = recurrent.clip(node)

    def gate(z: str, p: str, cell: str) -> str:
        return d.same("Sigmoid", [limited(d.same("Add", [z, d.same("Mul", [p, cell])]))])

    def limited(z: str) -> str:
        return z if not limit else d.same("Clip", [z, d.const(-limit, np.float32), d.const(limit, np.float32)])

    i = gate(zi, peephole[0], c)
    if attr(node, "input_forget", 0):
        f = d.same("Sub", [d.const(1.0, np.float32), i])
    else:
        f = gate(zf, peephole[2], c)
    new = d.same("Mul", [i, d.same("Tanh", [limited(zc)])])
    c = d.same("Add", [d.same("Mul", [f, c]), new])
    o = gate(zo, peephole[1], c)
    return d.same("Mul", [o, d.same("Tanh", [c])]), c
