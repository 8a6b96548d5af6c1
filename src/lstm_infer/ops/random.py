"""RandomNormal-22, RandomUniform-22 and their Like forms (1), Multinomial-22 (7), Bernoulli-22 (15).

Every number is told by its key (seed, node, signal), the step of its signal and its place in the step (program/draws.py), so
that pieces equal the whole: the slot `random` draws even steps from 0 to below 1, and a map makes of them what is asked
for. The numbers are not those of onnxruntime; their distribution is. Normal: Box and Muller (1958), of which the cosine is
taken; the tails end at 5.77 deviations. Multinomial: where the cumulative sums pass the drawn part of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import dtype_code
from ..program.builder import Builder
from ..program.draws import Axis, Choose, Draws, Factor, Random, node_key, own_seed
from ..program.views import View
from .common import onnx_dtype
from .formula import apply
from .reduce import reduce
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


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    """One result of this distribution, from another generator: nothing random is folded."""
    rng, dtype = np.random.default_rng(), _dtype(node, ins)
    if node.op == "Multinomial":
        x: Any = np.asarray(need(node, ins, 0), np.float64)
        total = np.cumsum(np.exp(x - x.max(axis=1, keepdims=True)), axis=1)
        at = rng.random((len(x), int(attr(node, "sample_size", 1)), 1)) * total[:, None, -1:]
        return [np.asarray((at >= total[:, None, :-1]).sum(2)).astype(dtype)]
    if node.op == "Bernoulli":
        return [np.asarray(rng.random(need(node, ins, 0).shape) < need(node, ins, 0)).astype(dtype)]
    shape = need(node, ins, 0).shape if node.op.endswith("Like") else tuple(attr(node, "shape"))
    if node.op.startswith("RandomNormal"):
        return [rng.normal(attr(node, "mean", 0.0), attr(node, "scale", 1.0), shape).astype(dtype)]
    return [rng.uniform(attr(node, "low", 0.0), attr(node, "high", 1.0), shape).astype(dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    if not ins:
        return []
    return [Link(0, axis, 0, axis) for axis in range(1 if node.op == "Multinomial" else len(outs[0].shape))]


# ---- drawing --------------------------------------------------------------------------------------------------------


@frozen
class _Grid:
    """What is drawn as steps, signals, and all else behind each other."""

    n_steps: int
    n_signals: int
    rest: tuple[int, ...]
    order: tuple[int, ...]
    """Of the parts of the output's axes: where each stands in (steps, signals, *rest)."""

    @classmethod
    def of(cls, node: Node, draws: Draws | None, shape: Sequence[int], signals: int) -> _Grid:
        """For an output of this shape."""
        axes = draws.axes if draws is not None else ((),) * len(shape)
        counts = {"step": 1, "signal": 1}
        rest: list[int] = []
        order: list[int] = []
        for axis, n in zip(axes, shape, strict=True):
            for kind, extent in _parts(node, axis, n, signals):
                if kind:
                    counts[kind] = extent
                    order.append(0 if kind == "step" else 1)
                else:
                    rest.append(extent)
                    order.append(1 + len(rest))
        return cls(counts["step"], counts["signal"], tuple(rest), tuple(order))

    def shown(self, b: Builder, drawn: View, shape: Sequence[int]) -> View:
        """What was drawn, as the output has it."""
        return b.reshape(b.reshape(drawn, (self.n_steps, self.n_signals, *self.rest)).transpose(self.order), shape)


def _parts(node: Node, axis: Axis, n: int, signals: int) -> list[Factor]:
    """The factors of an axis at its present extent."""
    if len(axis) < 2:
        kind = axis[0][0] if axis else ""
        return [("" if kind == "signal" and n != signals else kind, n)]
    known = [(kind, signals if kind == "signal" else extent) for kind, extent in axis]
    others = prod(extent for kind, extent in known if kind != "step")
    found = [(kind, n // max(others, 1) if kind == "step" else extent) for kind, extent in known]
    if prod(extent for _, extent in found) != n:
        raise ShapeError(f"{node}: draws {n} positions for {signals} signals, which is not the same number for each")
    return found


def _uniform(node: Node, b: Builder, shape: Sequence[int], times: int = 1) -> list[View]:
    """So many values of this shape, even from 0 to below 1, and independent of each other."""
    draws = b.draws.get(node.name)
    grid = _Grid.of(node, draws, shape, b.signals)
    n = prod(grid.rest)
    y = b.alloc((grid.n_steps, grid.n_signals, times * n))
    timed = draws is not None and draws.has("step")
    once = b.in_body or (draws is not None and draws.each_call)
    args = Random(
        y=y, state=b.drawn(node, grid.n_signals, own_seed(node)), key=node_key(node),
        n_steps=grid.n_steps, n_signals=grid.n_signals, n=times * n,
        advance=grid.n_steps if timed else int(once),
    )  # fmt: skip
    b.emit("random", args)
    return [grid.shown(b, y.part(2, k * n, n), shape) for k in range(times)]


def lower_uniform(node: Node, b: Builder) -> None:
    low, high = float(attr(node, "low", 0.0)), float(attr(node, "high", 1.0))
    out = b.new(node.outputs[0])
    (u,) = _uniform(node, b, out.shape)
    top = float(np.nextafter(np.float32(high), np.float32(low)))
    scaled = ("FMA", 0, high - low, low)
    apply(b, ("MIN", scaled, top) if low < high else scaled, [u], out)


def lower_normal(node: Node, b: Builder) -> None:
    out = b.new(node.outputs[0])
    radius = ("SQRT", ("MUL", ("LOG", ("SUB", 1.0, 0)), -2.0))
    normal = ("MUL", radius, ("COS", ("MUL", 1, 2 * pi)))
    made = ("FMA", normal, float(attr(node, "scale", 1.0)), float(attr(node, "mean", 0.0)))
    apply(b, made, _uniform(node, b, out.shape, 2), out)


def lower_bernoulli(node: Node, b: Builder) -> None:
    p, out = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    apply(b, ("LT", 0, 1), [*_uniform(node, b, out.shape), p], out)


def lower_multinomial(node: Node, b: Builder) -> None:
    x, out = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    most, p = b.alloc((x.shape[0],)), b.alloc(x.shape)
    reduce(b, "Max", x, (1,), most)
    apply(b, ("EXP", ("SUB", 0, 1)), [x, most.add_axis(1)], p)
    (u,) = _uniform(node, b, out.shape)
    args = Choose(
        p=p, u=b.dense(u), y=out, dtype=dtype_code(out.dtype), rows=x.shape[0], n=x.shape[1], samples=out.shape[1]
    )
    b.emit("choose", args)


_LOWER = {
    "RandomNormal": lower_normal,
    "RandomNormalLike": lower_normal,
    "RandomUniform": lower_uniform,
    "RandomUniformLike": lower_uniform,
    "Bernoulli": lower_bernoulli,
}
for _name, _lower in _LOWER.items():
    register(
        Op(
            _name,
            infer,
            evaluate,
            flow,
            _lower,
            random=True,
            runs="random, map",
            note="equal in distribution to onnxruntime",
        )
    )
register(
    Op(
        "Multinomial",
        infer,
        evaluate,
        flow,
        lower_multinomial,
        random=True,
        runs="random, map, choose",
        note="equal in distribution to onnxruntime",
    )
)
