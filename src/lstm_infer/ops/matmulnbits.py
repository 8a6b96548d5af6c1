"""MatMulNBits-1 of com.microsoft: A times a matrix kept in 2, 4 or 8 bits, with a scale for each block of a column.

    Y[..., n] = sum over k of A[..., k] (B[n][k] - zero[n][k / block]) scale[n][k / block] + bias[n]

B [N, blocks, bytes of a block], the lowest bits of a byte first; zero points are packed alike, or of A's type, and 2^(bits-1)
unless given. The matrix is unpacked once and runs as any other; accuracy_level, which lets A be rounded too, is not
needed. B, scales, zero points and bias must be known. Refused: g_idx.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import work
from .matmul import product, row_bias
from .registry import Op, attr, known, need, register, unsupported


def _sizes(node: Node) -> tuple[int, int, int, int]:
    """K, N, bits, block."""
    k, n, bits, block = (int(attr(node, name)) for name in ("K", "N", "bits", "block_size"))
    if bits not in (2, 4, 8):
        raise unsupported(node, f"bits={bits}")
    if k < 1 or n < 1 or block < 16 or block & (block - 1):
        raise ShapeError(f"{node}: K={k}, N={n}, block_size={block} describe no matrix")
    return k, n, bits, block


def _checked(node: Node, ins: list[Fact | None]) -> list[Any]:
    """B, scales, zero points, bias as arrays."""
    k, n, bits, block = _sizes(node)
    if len(ins) > 4 and ins[4] is not None:
        raise unsupported(node, "g_idx")
    blocks = -(-k // block)
    wanted = {1: n * blocks * (block * bits // 8), 2: n * blocks, 3: n * -(-blocks * bits // 8), 5: n}
    found: list[Any] = []
    for index, size in wanted.items():
        fact = ins[index] if index < len(ins) else None
        array = None if fact is None and index > 2 else known(node, need(node, ins, index), "a packed matrix")
        if index == 3 and array is not None and array.dtype.kind == "f":
            size = n * blocks
        if array is not None and array.size != size:
            raise ShapeError(f"{node}: input {index} has {array.size} elements, K, N and block_size ask for {size}")
        found.append(array)
    return found


def _unpacked(packed: Any, bits: int) -> Any:
    """The last axis of bytes as numbers of some bits, lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed.astype(np.uint8)[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1)


def _matrix(node: Node, arrays: list[Any]) -> Any:
    """[N, K] in float32."""
    k, n, bits, block = _sizes(node)
    packed, scales, zero, _ = arrays
    blocks = -(-k // block)
    values = _unpacked(packed.reshape(n, blocks, -1), bits).astype(np.float32)
    if zero is None:
        shift: Any = np.float32(1 << (bits - 1))
    elif zero.dtype.kind == "f":
        shift = zero.reshape(n, blocks, 1).astype(np.float32)
    else:
        shift = _unpacked(zero.reshape(n, -1), bits)[:, :blocks, None].astype(np.float32)
    return ((values - shift) * scales.reshape(n, blocks, 1).astype(np.float32)).reshape(n, -1)[:, :k]


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    a: Fact = need(node, ins, 0)
    k, n, _, _ = _sizes(node)
    if a.dtype.kind != "f" or not a.shape or a.shape[-1] != k:
        raise ShapeError(f"{node}: A {a.dtype}{list(a.shape)} does not fit K={k}")
    _checked(node, ins)
    return [Fact((*a.shape[:-1], n), a.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    a: Any = need(node, ins, 0)
    arrays = _checked(node, [None if x is None else Fact.of(x) for x in ins])
    y = a.astype(np.float32) @ _matrix(node, arrays).T
    return [np.asarray(y if arrays[3] is None else y + arrays[3]).astype(a.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, axis, 0, axis) for axis in range(len(outs[0].shape) - 1)]


def lower(node: Node, b: Builder) -> None:
    k, n, bits, block = _sizes(node)
    arrays = _checked(node, [b.fact(name) if name else None for name in node.inputs])
    bias = arrays[3]

    def pack() -> Array:
        w = np.ascontiguousarray(_matrix(node, arrays))
        return _core.pack_f32(w, gates=1, n_units=n, k=k, gate_stride=0, unit_stride=k, k_stride=1)

    w = b.packed(("few bits", *map(id, arrays[:3]), bits, block), pack, arrays[:3])
    start = None if bias is None else row_bias(b, ("few bits bias", id(bias), n), bias, n, bias)
    product(b, b.f32(b.view(node.inputs[0])), w, start, b.new(node.outputs[0]), k, n)


register(
    Op("MatMulNBits", infer, evaluate, flow, lower, work=work.products(), domain="com.microsoft", inputs=(3, 6), runs="matmul_f32",
       note="constant weights; no g_idx", why="sums over time")
)  # fmt: skip
