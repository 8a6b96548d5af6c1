"""Operators that the opset has not, and those that are none of ONNX, said by others."""

from __future__ import annotations

from math import pi, prod, sqrt
from typing import Any

import numpy as np

from ...graph.ir import Node
from ...ops.signal import table, transform_of
from .dialect import Said, has, rule
from .draft import Draft

__all__: list[str] = []

MS = "com.microsoft"


def _number(d: Draft, value: float) -> str:
    return d.const(value, np.float32)


def _end(said: Said, made: str) -> None:
    """What was made is the node's output."""
    said.d.alias(made, said.out)


# ---- activations ---------------------------------------------------------------------------------------------------------


def _erf_gelu(d: Draft, x: str) -> str:
    inner = d.same("Erf", [d.same("Mul", [x, _number(d, sqrt(0.5))])])
    return d.same("Mul", [d.same("Mul", [_number(d, 0.5), x]), d.same("Add", [_number(d, 1.0), inner])])


def _tanh_gelu(d: Draft, x: str) -> str:
    cubic = d.same("Add", [_number(d, 1.0), d.same("Mul", [_number(d, 0.044715), d.same("Mul", [x, x])])])
    inner = d.same("Tanh", [d.same("Mul", [d.same("Mul", [x, cubic]), _number(d, sqrt(2 / pi))])])
    return d.same("Mul", [d.same("Mul", [_number(d, 0.5), x]), d.same("Add", [_number(d, 1.0), inner])])


@rule("Gelu")
@rule("Gelu", "FastGelu", "BiasGelu", domain=MS)
def _gelu(said: Said) -> None:
    d, x = said.d, said.x(0)
    if not said.node.domain and has(d, "Gelu"):
        said.plain("Gelu", [x])
        return
    x = d.same("Add", [x, said.x(1)]) if said.x(1) else x
    tanh = said.node.op == "FastGelu" or str(said.attr("approximate", "none")) == "tanh"
    _end(said, _tanh_gelu(d, x) if tanh else _erf_gelu(d, x))


@rule("QuickGelu", domain=MS)
@rule("Swish")
def _swish(said: Said) -> None:
    d, x = said.d, said.x(0)
    alpha = float(said.attr("alpha", 1.702 if said.node.domain else 1.0))
    _end(said, d.same("Mul", [x, d.same("Sigmoid", [d.same("Mul", [x, _number(d, alpha)])])]))


@rule("HardSwish")
def _hard_swish(said: Said) -> None:
    d, x = said.d, said.x(0)
    gate = d.op("HardSigmoid", [x], said.shape, attrs={"alpha": 1 / 6, "beta": 0.5})
    _end(said, d.same("Mul", [x, gate]))


@rule("Mish")
def _mish(said: Said) -> None:
    d, x = said.d, said.x(0)
    _end(said, d.same("Mul", [x, d.same("Tanh", [d.same("Softplus", [x])])]))


def _activated(said: Said, x: str, name: str, params: Any) -> str:
    """One of the activations that onnxruntime fuses into a node."""
    d, shape = said.d, said.d.facts[x].shape
    values = [float(v) for v in params or ()]
    keys = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}.get(name, ())
    if name == "Clip":
        return d.op("Clip", [x, *(_number(d, v) for v in values)], shape)
    if name == "HardSwish":
        return d.same("Mul", [x, d.op("HardSigmoid", [x], shape, attrs={"alpha": 1 / 6, "beta": 0.5})])
    if not has(d, name):
        raise said.refuse(f"activation {name!r} is not composed")
    return d.op(name, [x], shape, attrs=dict(zip(keys, values, strict=False)))


# ---- products ------------------------------------------------------------------------------------------------------------


@rule("MatMul")
def _matmul(said: Said) -> None:
    d, node = said.d, said.node
    if not said.x(2):
        said.plain("MatMul", node.inputs)
    elif len(said.fact(0).shape) == 2:
        said.plain("Gemm", node.inputs)
    else:
        d.same("Add", [d.op("MatMul", node.inputs[:2], said.shape), said.x(2)], said.out)


@rule("FusedConv", domain=MS)
def _fused_conv(said: Said) -> None:
    d, node = said.d, said.node
    kept = {key: v for key, v in node.attrs.items() if not key.startswith("activation")}
    made = d.op("Conv", [name for name in node.inputs[:3] if name], said.shape, attrs=kept)
    made = d.same("Add", [made, said.x(3)]) if said.x(3) else made
    _end(said, _activated(said, made, str(said.attr("activation", "")), said.attr("activation_params", None)))


@rule("FusedGemm", domain=MS)
def _fused_gemm(said: Said) -> None:
    kept = {key: v for key, v in said.node.attrs.items() if not key.startswith("activation")}
    made = said.d.op("Gemm", [name for name in said.node.inputs if name], said.shape, attrs=kept)
    params = [said.attr(f"activation_{key}", None) for key in ("alpha", "beta")]
    _end(said, _activated(said, made, str(said.attr("activation", "")), [p for p in params if p is not None]))


@rule("FusedMatMul", "TransposeMatMul", domain=MS)
def _fused_matmul(said: Said) -> None:
    d = said.d
    sides = []
    for index, key in enumerate(("transA", "transB")):
        rank = len(said.fact(index).shape)
        order = [*range(rank - 2), rank - 1, rank - 2] if said.attr(key, 0) and rank > 1 else range(rank)
        sides.append(d.transposed(said.x(index), list(order)))
    made = d.op("MatMul", sides, said.shape)
    alpha = float(said.attr("alpha", 1.0))
    _end(said, d.same("Mul", [made, _number(d, alpha)]) if alpha != 1 else made)


@rule("MatMulNBits", domain=MS)
def _few_bits(said: Said) -> None:
    from ...ops.registry import find

    d, a, k = said.d, said.fact(0), int(said.attr("K"))
    node = Node(
        said.node.op, said.node.name, ["a", *said.node.inputs[1:5]], ["y"], said.node.attrs, MS, said.node.opset
    )
    rows = [np.eye(k, dtype=np.float32), *(said.known(i) for i in range(1, 5))]
    w = find(node).evaluate(node, rows)[0]
    made = d.op("MatMul", [said.x(0), d.const(w, np.float32, "weights")], (*a.shape[:-1], w.shape[1]))
    _end(said, d.same("Add", [made, said.x(5)]) if said.x(5) else made)


# ---- normalisations ------------------------------------------------------------------------------------------------------


def _mean(d: Draft, x: str, axes: list[int]) -> str:
    shape = [1 if a in axes else n for a, n in enumerate(d.facts[x].shape)]
    if d.opset >= 18:
        return d.op("ReduceMean", [x, d.const(axes, np.int64, "axes")], shape, attrs={"keepdims": 1})
    return d.op("ReduceMean", [x], shape, attrs={"keepdims": 1, "axes": axes})


def _normal(d: Draft, x: str, axes: list[int], epsilon: float, *, centre: bool = True) -> str:
    """x over the root of its mean square along these axes, about its mean or about 0."""
    x = d.same("Sub", [x, _mean(d, x, axes)]) if centre else x
    power = _mean(d, d.same("Mul", [x, x]), axes)
    return d.same("Div", [x, d.same("Sqrt", [d.same("Add", [power, _number(d, epsilon)])])])


def _moments(d: Draft, x: str, axes: list[int], epsilon: float, *, centre: bool) -> list[str]:
    """The mean, and what the rest is multiplied with; where there is no mean the latter alone."""
    mean = _mean(d, x, axes)
    rest = d.same("Sub", [x, mean]) if centre else x
    root = d.same("Sqrt", [d.same("Add", [_mean(d, d.same("Mul", [rest, rest]), axes), _number(d, epsilon)])])
    inverse = d.same("Reciprocal", [root])
    return [mean, inverse] if centre else [inverse]


@rule("MeanVarianceNormalization")
def _mean_variance(said: Said) -> None:
    d, rank = said.d, len(said.shape)
    axes = [int(a) % rank for a in said.attr("axes", [0, 2, 3])]
    rest = d.same("Sub", [said.x(0), _mean(d, said.x(0), axes)])
    root = d.same("Sqrt", [_mean(d, d.same("Mul", [rest, rest]), axes)])
    _end(said, d.same("Div", [rest, d.same("Add", [root, _number(d, 1e-9)])]))


def _scaled(d: Draft, x: str, scale: str, bias: str) -> str:
    made = d.same("Mul", [x, scale]) if scale else x
    return d.same("Add", [made, bias]) if bias else made


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def _layer_norm(said: Said) -> None:
    d, node, rank = said.d, said.node, len(said.fact(0).shape)
    axis = int(said.attr("axis", -1)) % rank
    if node.op == "LayerNormalization" and has(d, "LayerNormalization"):
        said.plain(node.op, node.inputs, axis=axis)
        return
    centre, axes, epsilon = node.op == "LayerNormalization", list(range(axis, rank)), float(said.attr("epsilon", 1e-5))
    made = _normal(d, said.x(0), axes, epsilon, centre=centre)
    _end(said, _scaled(d, made, said.x(1), said.x(2)))
    for name, value in zip(node.outputs[1:], _moments(d, said.x(0), axes, epsilon, centre=centre), strict=False):
        if name:
            d.alias(value, name)


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MS)
def _skip_norm(said: Said) -> None:
    d, node = said.d, said.node
    simple = "Simplified" in node.op
    x = d.same("Add", [said.x(0), said.x(1)])
    extra = said.x(3 if simple else 4)
    x = d.same("Add", [x, extra]) if extra else x
    rank = len(d.facts[x].shape)
    made = _normal(d, x, [rank - 1], float(said.attr("epsilon", 1e-12 if not simple else 1e-5)), centre=not simple)
    _end(said, _scaled(d, made, said.x(2), "" if simple else said.x(3)))
    for place, name in enumerate(node.outputs[1:], 1):
        if name and place == 3:
            d.alias(x, name)
        elif name:
            raise said.refuse("its mean or deviation is read")


@rule("GroupNormalization")
def _group_norm(said: Said) -> None:
    d, shape = said.d, said.fact(0).shape
    groups = int(said.attr("num_groups"))
    flat = d.reshaped(said.x(0), (shape[0], groups, prod(shape[1:]) // groups))
    made = d.reshaped(_normal(d, flat, [2], float(said.attr("epsilon", 1e-5))), shape)
    row = (1, shape[1], *(1 for _ in shape[2:]))
    _end(said, _scaled(d, made, d.reshaped(said.x(1), row), d.reshaped(said.x(2), row)))


# ---- maps and spectra ----------------------------------------------------------------------------------------------------


@rule("Mod")
def _mod(said: Said) -> None:
    d, a, b = said.d, said.x(0), said.x(1)
    if said.outs[0].dtype.kind != "f" or said.attr("fmod", 0):
        said.plain("Mod", said.node.inputs)
        return
    rest = d.op("Mod", [a, b], said.shape, attrs={"fmod": 1})  # of the sign of a: one step more where b has the other
    other = d.same("Less", [d.same("Mul", [rest, b]), _number(d, 0.0)], dtype=np.bool_)
    _end(said, d.same("Where", [other, d.same("Add", [rest, b]), rest]))


@rule("Trilu")
def _triangle(said: Said) -> None:
    d, k = said.d, said.known(1)
    if has(d, "Trilu"):
        said.plain("Trilu", said.node.inputs)
        return
    shift = 0 if k is None else int(k.reshape(-1)[0])
    upper = bool(said.attr("upper", 1))
    rows, columns = said.shape[-2:]
    lower = np.tri(rows, columns, shift - upper, dtype=np.bool_)
    zero = d.const(0, said.outs[0].dtype)
    _end(said, d.same("Where", [d.const(~lower if upper else lower, hint="triangle"), said.x(0), zero]))


@rule("DFT")
def _dft(said: Said) -> None:
    d = said.d
    axis, t = transform_of(said.node, [d.facts[name] if name else None for name in said.node.inputs])
    x, rank = said.x(0), len(said.shape)
    order = [a for a in range(rank) if a not in (axis, rank - 1)]
    moved = d.transposed(x, [*order, axis, rank - 1])
    rest = [d.facts[x].shape[a] for a in order]
    moved = d.part(moved, rank - 2, 0, t.used)
    flat = d.reshaped(moved, (*rest, t.used * t.parts))
    made = d.op("MatMul", [flat, d.const(table(t), np.float32, "waves")], (*rest, t.bins * t.made))
    split = d.reshaped(made, (*rest, t.bins, t.made))
    back = [*order, axis, rank - 1]
    d.transposed(split, [back.index(a) for a in range(rank)], said.out)


# ---- moves ---------------------------------------------------------------------------------------------------------------


@rule("ConcatFromStack", domain="lstm_infer")
def _from_stack(said: Said) -> None:
    d, shape = said.d, said.fact(0).shape
    rank, new = len(shape), bool(said.attr("new_axis", 0))
    axis = int(said.attr("axis"))
    axis += (rank if new else rank - 1) * (axis < 0)
    moved = d.transposed(said.x(0), [*range(1, axis + 1), 0, *range(axis + 1, rank)])
    d.reshaped(moved, said.shape, said.out)


@rule("NhwcMaxPool", domain=MS)
def _channels_last(said: Said) -> None:
    d, rank = said.d, len(said.shape)
    x = d.transposed(said.x(0), [0, rank - 1, *range(1, rank - 1)])
    inner = [said.shape[0], said.shape[-1], *said.shape[1:-1]]
    made = d.op("MaxPool", [x], inner, said.outs[0].dtype, attrs=dict(said.node.attrs))
    d.transposed(made, [0, *range(2, rank), 1], said.out)
