"""Recurrences, products, normalisations, convolutions, pools and quantised operators against onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from run import ISAS, close, expected, folded, links_hold, model, through_plan

import lstm_infer
from lstm_infer.errors import OnnxImportError, ShapeError, UnsupportedOpError
from lstm_infer.graph.ir import Array
from sums_of_bytes import saturates

Ins = list[Any]


def f32(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Normal numbers."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale, np.float32)


def check(
    op: str,
    ins: Ins,
    *,
    consts: Sequence[int] = (),
    opset: int = 17,
    domain: str = "",
    n_out: int = 1,
    isas: Sequence[str] = tuple(ISAS),
    slots: Sequence[str] | None = None,
    want: Sequence[Array] | None = None,
    fold: bool = True,
    **attrs: Any,
) -> None:
    """One node: folded, and planned on each instruction set, against onnxruntime (or `want`)."""
    how: dict[str, Any] = {"opset": opset, "domain": domain, "n_out": n_out}
    feeds = {f"x{i}": a for i, a in enumerate(ins) if a is not None and i not in consts}
    made = model(op, ins, attrs, consts=set(consts), **how)
    if want is None:
        want = expected(made, feeds)
    if fold:
        for got, ref in zip(folded(model(op, ins, attrs, consts=set(range(len(ins))), **how)), want, strict=True):
            close(got, ref)
    for isa in isas:
        outs, used = through_plan(made, feeds, isa)
        for got, ref in zip(outs, want, strict=True):
            close(got, ref)
        if slots is not None:
            assert set(used) == set(slots), used
    links_hold(made, feeds, 4)


# ---- products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c_shape", [None, (17,), (1,), (), (5, 17), (5, 1), (1, 17)])
@pytest.mark.parametrize("consts", [(), (1,), (1, 2), (2,), (0,)])
def test_gemm(trans_a: int, trans_b: int, c_shape: tuple[int, ...] | None, consts: tuple[int, ...]) -> None:
    a, b = f32(*((7, 5) if trans_a else (5, 7))), f32(*((17, 7) if trans_b else (7, 17)), seed=1)
    c = None if c_shape is None else f32(*c_shape, seed=2)
    ins = [a, b] if c is None else [a, b, c]
    consts = tuple(i for i in consts if i < len(ins))
    for more in ({}, {"alpha": 0.5, "beta": -2.0}, {"beta": 0.0}):
        check("Gemm", ins, consts=consts, transA=trans_a, transB=trans_b, isas=ISAS[:1], **more)


def test_gemm_bias_starts_the_sum() -> None:
    check("Gemm", [f32(3, 4), f32(4, 20), f32(20)], consts=(1, 2), slots=["matmul_f32"])


@pytest.mark.parametrize("consts", [(1, 2), (1,), ()])
@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "Tanh", "LeakyRelu"])
def test_fused_gemm(name: str, consts: tuple[int, ...]) -> None:
    more = {"activation_alpha": 0.3} if name == "LeakyRelu" else {}
    ins = [f32(3, 4), f32(4, 20), f32(20)]
    check("FusedGemm", ins, consts=consts, domain="com.microsoft", opset=1, activation=name, **more)
    check("FusedGemm", ins[:2], consts=consts[:1], domain="com.microsoft", opset=1, activation=name, **more)


# ---- softmax ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(op: str, axis: int | None, opset: int) -> None:
    check(op, [f32(3, 17, 5, scale=5)], opset=opset, **({} if axis is None else {"axis": axis}))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_matmul_of_integers(dtype: str) -> None:
    a, b = (np.arange(12).reshape(s).astype(dtype) * 1_000_003 for s in ((3, 4), (4, 3)))
    check("MatMul", [a, b])
    check("MatMul", [a, b], consts=(1,))


@pytest.mark.parametrize("consts", [(), (1,), (1, 2)])
def test_sum_of_nothing(consts: tuple[int, ...]) -> None:
    ins = [f32(3, 0), f32(0, 5), f32(5)]
    check("Gemm", ins, consts=consts, want=[np.broadcast_to(ins[2], (3, 5))])
    check("MatMul", ins[:2], consts=consts[:1], want=[np.zeros((3, 5), np.float32)])


# ---- normalisations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 5), (2, 5, 3, 4)])
@pytest.mark.parametrize("consts", [(), (1, 2, 3, 4), (1, 2)])
def test_batch_normalization(shape: tuple[int, ...], consts: tuple[int, ...]) -> None:
    params = [f32(5, seed=1), f32(5, seed=2), f32(5, seed=3), np.abs(f32(5, seed=4))]
    check("BatchNormalization", [f32(*shape), *params], consts=consts, opset=15, epsilon=1e-3)


@pytest.mark.parametrize("axis", [-1, 1, 2, -2])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_normalization(axis: int, bias: bool) -> None:
    x = f32(3, 5, 17, scale=3) + 2
    tail = x.shape[axis:]
    ins = [x, f32(*tail, seed=1), *([f32(*tail, seed=2)] if bias else [])]
    for consts in ((), (1, 2)[: 1 + bias]):
        check("LayerNormalization", ins, consts=consts, axis=axis, slots=["layernorm_f32"])
    check("LayerNormalization", ins, axis=axis, epsilon=0.1, n_out=3)


@pytest.mark.parametrize("axis", [-1, 1])
def test_root_mean_square_normalization(axis: int) -> None:
    x = f32(3, 5, 17, scale=3) + 2
    check("RMSNormalization", [x, f32(*x.shape[axis:], seed=1)], opset=23, axis=axis)
    scale = f32(17, seed=1)
    check(
        "SimplifiedLayerNormalization", [x, scale], axis=-1, epsilon=1e-3, opset=1, n_out=2, want=_simplified(x, scale)
    )


def _simplified(x: Any, scale: Any) -> list[Array]:
    inverse = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(1e-3))
    return [x * inverse * scale, inverse]


@pytest.mark.parametrize("shape", [(2, 6, 7), (2, 6, 3, 4), (1, 6, 33)])
def test_instance_and_group_normalization(shape: tuple[int, ...]) -> None:
    ins = [f32(*shape), f32(6, seed=1), f32(6, seed=2)]
    check("InstanceNormalization", ins, consts=(1, 2))
    check("InstanceNormalization", ins)
    check("GroupNormalization", ins, opset=21, num_groups=3)


def test_mean_variance_and_lp_normalization() -> None:
    check("MeanVarianceNormalization", [f32(2, 3, 4, 5)])
    for axes in ([0, 1], [1, 3], [0, 1, 2, 3], [-1]):
        check("MeanVarianceNormalization", [f32(2, 3, 4, 5)], axes=axes)
    for axis in (0, 1, -1):
        for p in (1, 2):
            check("LpNormalization", [f32(3, 4, 5)], axis=axis, p=p)
    x = f32(3, 4)
    x[1] = 0
    check("LpNormalization", [x], axis=1)


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_skip_layer_normalization(op: str) -> None:
    x, skip, gamma, beta, bias = f32(2, 3, 16), f32(2, 3, 16, seed=1), f32(16, seed=2), f32(16, seed=3), f32(16, seed=4)
    ins: list[Ins] = [[x, skip, gamma], [x, skip, gamma, beta]]
    if op == "SkipLayerNormalization":
        ins += [[x, skip, gamma, beta, bias], [x, skip, gamma, None, bias]]
    for given in ins:
        check(op, given, domain="com.microsoft", opset=1, epsilon=1e-5, fold=False)


# ---- Gelu ---------------------------------------------------------------------------------------------------


def test_gelu() -> None:
    x, bias = f32(4, 17, scale=3), f32(17, seed=1)
    check("Gelu", [x], opset=20)
    check("Gelu", [x], opset=20, approximate="tanh")
    ms: dict[str, Any] = {"domain": "com.microsoft", "opset": 1}
    check("Gelu", [x], **ms)
    check("FastGelu", [x], **ms)
    check("FastGelu", [x, bias], consts=(1,), **ms)
    check("BiasGelu", [x, bias], **ms)
    check("QuickGelu", [x], alpha=1.3, **ms)


# ---- convolutions -------------------------------------------------------------------------------------------

CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 11), (5, 3, 3), {}),
    ((1, 1, 64), (17, 1, 16), {"strides": [8]}),
    ((2, 4, 20), (4, 1, 5), {"group": 4, "pads": [4, 0]}),
    ((2, 4, 20), (34, 2, 3), {"group": 2, "dilations": [3], "pads": [2, 5], "strides": [2]}),
    ((1, 3, 9, 8), (6, 3, 3, 2), {"pads": [1, 0, 1, 1]}),
    ((2, 6, 7, 9), (6, 2, 3, 3), {"group": 3, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 1, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"pads": [1, 1, 0, 0, 1, 1], "strides": [1, 2, 2]}),
    ((2, 3, 10), (5, 3, 4), {"auto_pad": "SAME_UPPER"}),
    ((2, 3, 10), (5, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [3]}),
    ((1, 3, 10, 7), (5, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 3, 10), (5, 3, 4), {"auto_pad": "VALID"}),
    ((1, 3, 10), (5, 3, 1), {}),
    # one position of the kernel in some axes, or in all but beside padding: no line of positions
    ((1, 3, 4, 3, 2), (5, 3, 3, 1, 1), {"pads": [1, 0, 0, 1, 0, 0]}),
    ((1, 3, 4, 3, 2), (5, 3, 2, 1, 1), {}),
    ((1, 3, 9), (5, 3, 1), {"pads": [1, 0], "strides": [2]}),
    ((1, 3, 9), (5, 3, 1), {"pads": [0, 1], "strides": [3]}),
    # the first positions of the kernel that meet data do so behind its beginning
    ((3, 1, 5, 7, 3), (4, 1, 2, 4, 1), {"strides": [1, 2, 1], "dilations": [1, 3, 1], "pads": [0, 1, 2, 0, 2, 0]}),
    ((1, 2, 9, 7), (3, 2, 2, 4), {"dilations": [1, 3], "pads": [1, 1, 1, 2]}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), CONVS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("consts", [(), (1,), (1, 2)])
def test_conv(
    x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any], bias: bool, consts: tuple[int, ...]
) -> None:
    ins = [f32(*x), f32(*w, seed=1), *([f32(w[0], seed=2)] if bias else [])]
    check("Conv", ins, consts=[i for i in consts if i < len(ins)], **attrs)


@pytest.mark.parametrize("consts", [(), (1, 2)])
def test_fused_conv(consts: tuple[int, ...]) -> None:
    ins: Ins = [f32(1, 3, 8, 6), f32(5, 3, 3, 3, seed=1), f32(5, seed=2)]
    ms: dict[str, Any] = {"domain": "com.microsoft", "opset": 1, "pads": [1, 1, 1, 1]}
    check("FusedConv", ins, consts=consts, activation="Relu", **ms)
    check("FusedConv", [*ins, f32(1, 5, 8, 6, seed=3)], consts=consts, activation="Relu", **ms)
    check("FusedConv", ins, consts=consts, activation="LeakyRelu", activation_params=[0.3], **ms)
    check("FusedConv", ins, consts=consts, activation="HardSigmoid", activation_params=[0.3, 0.4], **ms)


TRANSPOSED: list[tuple[Any, Any, dict[str, Any]]] = [
    ((2, 3, 11), (3, 5, 3), {}),
    ((1, 4, 9), (4, 1, 16), {"strides": [8], "pads": [8, 8]}),
    ((2, 4, 9), (4, 3, 7), {"strides": [3], "group": 2, "output_padding": [2]}),
    ((2, 4, 9), (4, 3, 2), {"strides": [3], "output_padding": [1]}),
    ((2, 3, 9), (3, 5, 3), {"dilations": [2], "strides": [2], "pads": [1, 2]}),
    ((1, 4, 5, 6), (4, 3, 3, 2), {"strides": [2, 1], "pads": [1, 0, 0, 1], "group": 2}),
    ((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), {"strides": [2, 1, 2]}),
    ((1, 4, 1, 9), (4, 3, 1, 5), {"strides": [1, 2], "pads": [0, 2, 0, 2]}),
    ((1, 3, 9), (3, 5, 4), {"strides": [2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 9), (3, 5, 3), {"strides": [2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 9), (3, 5, 3), {"strides": [2], "auto_pad": "SAME_LOWER"}),
    ((1, 3, 9), (3, 5, 3), {"strides": [2], "auto_pad": "VALID"}),
    ((1, 3, 9), (3, 5, 4), {"strides": [2], "output_shape": [17]}),
    ((1, 3, 9), (3, 5, 4), {"strides": [2], "output_shape": [17], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 4, 5), (3, 2, 3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
    ((2, 4, 5), (4, 3, 3), {"strides": [1024]}),  # beyond it no convolution for each place between two steps
    ((2, 4, 5), (4, 3, 4), {"strides": [1025], "dilations": [600], "pads": [3, 5]}),
    ((2, 4, 5), (4, 3, 3001), {"strides": [1500], "pads": [700, 701], "group": 2}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), TRANSPOSED)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("consts", [(), (1,), (1, 2)])
def test_conv_transpose(x: Any, w: Any, attrs: dict[str, Any], bias: bool, consts: tuple[int, ...]) -> None:
    ins = [f32(*x), f32(*w, seed=1), *([f32(w[1] * attrs.get("group", 1), seed=2)] if bias else [])]
    check("ConvTranspose", ins, consts=[i for i in consts if i < len(ins)], **attrs)


# ---- pools --------------------------------------------------------------------------------------------------

POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 11), {"kernel_shape": [3]}),
    ((2, 3, 11), {"kernel_shape": [2], "strides": [2]}),
    ((1, 3, 70), {"kernel_shape": [30], "strides": [9], "pads": [4, 3]}),
    ((2, 3, 40), {"kernel_shape": [19], "strides": [2]}),
    ((2, 3, 11), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    ((2, 3, 12), {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}),
    ((2, 3, 12), {"kernel_shape": [3], "strides": [4], "pads": [1, 2], "ceil_mode": 1}),
    ((2, 3, 13), {"kernel_shape": [2], "strides": [4], "ceil_mode": 1, "pads": [0, 1]}),
    ((2, 3, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    ((1, 2, 9, 8, 7), {"kernel_shape": [2, 2, 3], "strides": [2, 2, 2]}),
    ((1, 2, 9, 40), {"kernel_shape": [1, 30], "strides": [1, 5]}),
    ((1, 2, 9, 40), {"kernel_shape": [4, 30], "strides": [1, 5], "pads": [1, 1, 1, 1]}),
    ((2, 3, 11), {"kernel_shape": [4], "auto_pad": "SAME_UPPER"}),
    ((2, 3, 11), {"kernel_shape": [4], "auto_pad": "SAME_LOWER", "strides": [2]}),
    ((2, 3, 9, 8), {"kernel_shape": [2, 4], "auto_pad": "VALID"}),
]


@pytest.mark.parametrize(("x", "attrs"), POOLS)
def test_pools(x: tuple[int, ...], attrs: dict[str, Any]) -> None:
    check("MaxPool", [f32(*x)], opset=12, **attrs)
    check("MaxPool", [f32(*x)], opset=12, n_out=2, **attrs)
    check("AveragePool", [f32(*x)], opset=11, **attrs)
    check("AveragePool", [f32(*x)], opset=11, count_include_pad=1, **attrs)
    if "ceil_mode" not in attrs:
        for p in (1, 2, 3):
            check("LpPool", [f32(*x)], opset=11, p=p, **attrs)


def test_pools_with_dilation() -> None:
    x = f32(1, 2, 9, 12)
    for pads in ([0, 0, 0, 0], [1, 1, 0, 2]):
        check("MaxPool", [x], kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2], pads=pads)
        check("AveragePool", [x], opset=19, kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2], pads=pads)
    check("MaxPool", [x], kernel_shape=[2, 3], storage_order=1, n_out=2)
    check("MaxPool", [np.arange(-60, 60, dtype=np.int8).reshape(1, 2, 60)], kernel_shape=[3], pads=[1, 1])


@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 9, 8), (1, 2, 3, 4, 5)])
def test_global_pools(shape: tuple[int, ...]) -> None:
    check("GlobalMaxPool", [f32(*shape)])
    check("GlobalAveragePool", [f32(*shape)])
    for p in (1, 2, 3):
        check("GlobalLpPool", [f32(*shape)], p=p)


# ---- quantised ----------------------------------------------------------------------------------------------


def whole(*shape: int, dtype: str, seed: int = 0) -> Array:
    """Integers over the whole range of a type, or of 7 bits where onnxruntime's sums of signed bytes saturate."""
    info, less = np.iinfo(dtype), 1 + (dtype == "int8" and saturates())
    return np.random.default_rng(seed).integers(info.min // less, info.max // less, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_linear(dtype: str) -> None:
    x = f32(3, 4, 5, scale=100)
    x[0, 0] = [0.5, 1.5, 2.5, -0.5, -1.5]
    check("QuantizeLinear", [x, np.array(1, np.float32), np.array(3, dtype)], opset=13)
    check("QuantizeLinear", [x, np.array(0.37, np.float32), np.array(3, dtype)], consts=(1, 2), opset=13)
    scale, zero = np.array([0.5, 1, 2, 0.3], np.float32), whole(4, dtype=dtype)
    check("QuantizeLinear", [x, scale, zero], consts=(1, 2), opset=13, axis=1)
    check("QuantizeLinear", [x, scale, zero], opset=13, axis=-2)
    y = whole(3, 4, 5, dtype=dtype)
    check("DequantizeLinear", [y, scale, zero], opset=13, axis=1)
    check("DequantizeLinear", [y, np.array(0.3, np.float32), np.array(7, dtype)], opset=13)
    check("DequantizeLinear", [y, np.array(0.3, np.float32)], opset=13)
    check("DequantizeLinear", [whole(3, 4, dtype="int32"), np.array(1e-4, np.float32)], opset=13)
    check("QuantizeLinear", [x, np.array(0.01, np.float32), np.array(3, "int16")], opset=21)


@pytest.mark.parametrize(("axis", "block"), [(0, 2), (1, 4), (1, 3), (-1, 2), (2, 5)])
def test_blocks_of_scales(axis: int, block: int) -> None:
    x = f32(3, 7, 5, scale=100)
    shape = tuple(-(-n // block) if a == axis % 3 else n for a, n in enumerate(x.shape))
    scale, zero = np.abs(f32(*shape, seed=1)) + np.float32(0.3), whole(*shape, dtype="int8", seed=2)
    how: dict[str, Any] = {"consts": (1, 2), "opset": 21, "axis": axis, "block_size": block}
    check("QuantizeLinear", [x, scale, zero], **how)
    check("DequantizeLinear", [whole(3, 7, 5, dtype="int8"), scale, zero], **how)
    check("DequantizeLinear", [whole(3, 7, 5, dtype="int8"), scale], **{**how, "consts": (1,)})


def test_blocks_of_scales_fit() -> None:
    x = whole(4, 6, dtype="int8")
    for scale, attrs in ((f32(4, 4), {"axis": 1, "block_size": 2}), (f32(4, 3), {"axis": 1, "block_size": -2})):
        made = model("DequantizeLinear", [x, scale], attrs, opset=21, consts={1})
        with pytest.raises((ShapeError, OnnxImportError), match="block"):
            lstm_infer.load(made).run({"x0": x})
    made = model("DequantizeLinear", [x, f32(4, 3)], {"axis": 1, "block_size": 2}, opset=21, consts=set())
    with pytest.raises(UnsupportedOpError, match="blocks of a computed x1"):
        lstm_infer.load(made).run({"x0": x, "x1": f32(4, 3)})


def test_a_block_longer_than_any_axis_takes_no_memory() -> None:
    x, scale = whole(4, 6, dtype="int8"), np.abs(f32(4, 1)) + np.float32(0.3)
    made = model("DequantizeLinear", [x, scale], {"axis": 1, "block_size": 2**40}, opset=21, consts={1})
    np.testing.assert_array_equal(next(iter(lstm_infer.load(made).run({"x0": x}).values())), x * scale)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_what_quantisers_wrote_before_onnx_had_it(dtype: str) -> None:
    x, scale, zero = f32(3, 4, 5, scale=100), np.array([0.5, 1, 2, 0.3], np.float32), whole(4, dtype=dtype)
    check("QuantizeLinear", [x, scale, zero], consts=(1, 2), axis=1, **MS)
    check("DequantizeLinear", [whole(3, 4, 5, dtype=dtype), scale, zero], consts=(1, 2), axis=1, **MS)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_dynamic_quantize_linear(shift: float) -> None:
    check("DynamicQuantizeLinear", [f32(3, 17) + np.float32(shift)], opset=11, n_out=3)
    check("DynamicQuantizeLinear", [np.zeros((3, 2), np.float32)], opset=11, n_out=3)


@pytest.mark.parametrize("k", [1, 7, 256, 257, 700, 3000])
@pytest.mark.parametrize("b_type", ["int8", "uint8"])
@pytest.mark.parametrize("consts", [(), (1, 3)])
def test_matmul_integer(k: int, b_type: str, consts: tuple[int, ...]) -> None:
    a, b = whole(2, 3, k, dtype="uint8"), whole(k, 17, dtype=b_type, seed=1)
    check("MatMulInteger", [a, b, np.array(200, "uint8"), np.array(3, b_type)], consts=consts)
    check("MatMulInteger", [a, b], consts=[i for i in consts if i < 2])
    zero = np.zeros(17, b_type) if b_type == "int8" else whole(17, dtype=b_type, seed=2)
    check("MatMulInteger", [a, b, np.array(200, "uint8"), zero], consts=consts)


@pytest.mark.parametrize("w", [(6, 3, 3), (6, 3, 100)])
@pytest.mark.parametrize("consts", [(), (1, 3)])
def test_conv_integer(w: tuple[int, ...], consts: tuple[int, ...]) -> None:
    ins: Ins = [whole(2, 3, 110, dtype="uint8"), whole(*w, dtype="uint8"), np.array(120, "uint8"), np.array(7, "uint8")]
    check("ConvInteger", ins, consts=consts, pads=[1, 2])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("x", [(2, 60, 30), (1, 60, 9, 8)])
def test_wide_integer_convolutions_stay_in_c(x: tuple[int, ...], groups: int) -> None:
    kernel = (11,) if len(x) == 3 else (3, 4)
    w = whole(4, 60 // groups, *kernel, dtype="int8", seed=1)
    ins: Ins = [whole(*x, dtype="uint8"), w, np.array(120, "uint8"), np.array(-7, "int8")]
    made = model("ConvInteger", ins, {"group": groups}, opset=17, consts={1, 3})
    feeds = {"x0": ins[0], "x2": ins[2]}
    (want,) = expected(made, feeds)
    for isa in ISAS:
        (got,), slots = through_plan(made, feeds, isa)
        assert not [slot for slot in slots if slot.startswith("host:")]
        close(got, want)


MS: dict[str, Any] = {"domain": "com.microsoft", "opset": 1}


def scalar(value: float, dtype: str = "float32") -> Array:
    """A number."""
    return np.array(value, dtype)


@pytest.mark.parametrize("k", [7, 300])
@pytest.mark.parametrize("fixed", [False, True])
def test_qlinear_matmul(k: int, fixed: bool) -> None:
    a, b = whole(2, 3, k, dtype="uint8"), whole(k, 17, dtype="int8", seed=1)
    zero, out = scalar(100, "uint8"), scalar(130, "uint8")
    ins: Ins = [a, scalar(0.02), zero, b, scalar(0.01), scalar(0, "int8"), scalar(0.7), out]
    consts = range(1, 8) if fixed else ()
    check("QLinearMatMul", ins, consts=consts, opset=10)
    ins[4], ins[5] = np.linspace(0.01, 0.02, 17, dtype=np.float32), np.zeros(17, "int8")
    check("QLinearMatMul", ins, consts=consts, opset=10)
    consts = (1, 3, 5) if fixed else ()
    check("MatMulIntegerToFloat", [a, b, ins[1], ins[4], zero, ins[5], f32(17)], consts=consts, **MS)
    check("MatMulIntegerToFloat", [a, b, ins[1], scalar(0.1)], consts=consts[:2], **MS)
    x = f32(2, 3, k)
    check("DynamicQuantizeMatMul", [x, b, scalar(0.1), scalar(0, "int8"), f32(17)], consts=consts[:2], **MS)
    check("DynamicQuantizeMatMul", [x, b, ins[4]], consts=consts[:1], **MS)


@pytest.mark.parametrize("trans", [(0, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("fixed", [False, True])
def test_qgemm(trans: tuple[int, int], fixed: bool) -> None:
    a, b = (
        whole(*((7, 3) if trans[0] else (3, 7)), dtype="uint8"),
        whole(*((9, 7) if trans[1] else (7, 9)), dtype="int8"),
    )
    c = np.arange(-40000, 50000, 10000, dtype=np.int32)
    ins: Ins = [a, scalar(0.02), scalar(90, "uint8"), b, scalar(0.03), scalar(0, "int8"), c]
    consts = range(1, 9) if fixed else ()
    how: dict[str, Any] = {"transA": trans[0], "transB": trans[1], **MS}
    check("QGemm", ins, consts=[i for i in consts if i < 7], alpha=0.5, **how)
    check("QGemm", [*ins, scalar(0.5), scalar(120, "uint8")], consts=consts, **how)
    check("QGemm", [*ins[:6], None, scalar(0.5), scalar(120, "uint8")], consts=[i for i in consts if i != 6], **how)


@pytest.mark.parametrize("fixed", [False, True])
def test_qlinear_conv(fixed: bool) -> None:
    x, w = whole(2, 4, 9, 8, dtype="uint8"), whole(6, 2, 3, 3, dtype="int8", seed=1)
    ins: Ins = [
        x,
        scalar(0.02),
        scalar(90, "uint8"),
        w,
        scalar(0.03),
        scalar(0, "int8"),
        scalar(0.9),
        scalar(120, "uint8"),
    ]
    consts = range(1, 9) if fixed else ()
    how: dict[str, Any] = {"opset": 10, "group": 2, "pads": [1, 1, 0, 1]}
    check("QLinearConv", ins, consts=[i for i in consts if i < 8], **how)
    ins[4], ins[5] = np.linspace(0.01, 0.03, 6, dtype=np.float32), np.zeros(6, "int8")
    check("QLinearConv", [*ins, np.arange(-9000, 9000, 3000, dtype=np.int32)], consts=consts, **how)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_qlinear_element_by_element(dtype: str) -> None:
    a, b = whole(3, 17, dtype=dtype), whole(17, dtype=dtype, seed=1)
    left, right, out = (
        [scalar(0.03), scalar(3, dtype)],
        [scalar(0.05), scalar(9, dtype)],
        [scalar(0.07), scalar(20, dtype)],
    )
    for op in ("QLinearAdd", "QLinearMul"):
        check(op, [a, *left, b, *right, *out], **MS)
    check("QLinearSigmoid", [a, *left, scalar(1 / 256), scalar(0, dtype)], consts=(1, 2, 3, 4), **MS)
    check("QLinearLeakyRelu", [a, *left, *out], consts=(1, 2, 3, 4), alpha=0.2, **MS)
    parts = [a, *left, whole(3, 4, dtype=dtype, seed=2), *right]
    check("QLinearConcat", [*out, *parts], axis=1, consts=(0, 1, 3, 4, 6, 7), **MS)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("direction", "D"), [("forward", 1), ("reverse", 1), ("bidirectional", 2)])
@pytest.mark.parametrize("more", [{}, {"clip": 0.5}, {"input_forget": 1}, {"peephole": 1}, {"lens": 1}, {"wide": 1}])
def test_dynamic_quantize_lstm(dtype: str, direction: str, D: int, more: dict[str, Any]) -> None:
    T, B, I, H = 7, 3, 19, 20
    attrs = {"hidden_size": H, "direction": direction, **{k: more[k] for k in more if k in ("clip", "input_forget")}}
    zero = np.full(D, 0 if dtype == "int8" else 120, dtype)
    scales = [np.full(D, 0.003, np.float32), np.full(D, 0.004, np.float32)]
    if "wide" in more:
        zero = np.repeat(zero[:, None], 4 * H, 1)
        scales = [np.abs(f32(D, 4 * H, scale=0.003, seed=i)) for i in (5, 6)]
    ins: Ins = [
        f32(T, B, I), whole(D, I, 4 * H, dtype=dtype), whole(D, H, 4 * H, dtype=dtype, seed=1), f32(D, 8 * H, seed=1),
        np.array([7, 2, 4], np.int32) if "lens" in more else None, f32(D, B, H, seed=2), f32(D, B, H, seed=3),
        f32(D, 3 * H, seed=4) if "peephole" in more else None, scales[0], zero, scales[1], zero,
    ]  # fmt: skip
    consts = [1, 2, 3, 7, 8, 9, 10, 11]
    consts = [i for i in consts if ins[i] is not None]
    check("DynamicQuantizeLSTM", ins, consts=consts, n_out=3, **attrs, **MS)


RECURRENCES = [("RNN", 1), ("GRU", 3), ("LSTM", 4)]


@pytest.mark.parametrize(("op", "gates"), RECURRENCES)
@pytest.mark.parametrize("consts", [(1, 2, 3), ()])
def test_a_recurrence_folded_and_with_weights_that_are_fed(op: str, gates: int, consts: tuple[int, ...]) -> None:
    weights = [f32(1, gates * 20, n, seed=n, scale=0.3) for n in (3, 20)]
    check(op, [f32(5, 2, 3), *weights, f32(1, gates * 40)], consts=consts, hidden_size=20)


@pytest.mark.parametrize(("op", "gates"), RECURRENCES)
def test_a_sequence_of_other_features_than_the_weights_take(op: str, gates: int) -> None:
    ins = [f32(5, 2, 5), f32(1, gates * 4, 3), f32(1, gates * 4, 4)]
    with pytest.raises(ShapeError, match="X has 5 features, its weights take 3"):
        through_plan(model(op, ins, {"hidden_size": 4}, opset=17, consts={1, 2}), {"x0": ins[0]}, ISAS[0])


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_transposed_convolution_that_pads_itself(auto: str, kernel: int) -> None:
    check("ConvTranspose", [f32(2, 4, 9), f32(4, 3, kernel, seed=1)], consts=(1,), strides=[2], auto_pad=auto)


@pytest.mark.parametrize("length", [1, 700])
def test_sums_of_an_integer_convolution_are_exact(length: int) -> None:
    """Beyond 2^24, where float32 has no odd numbers."""
    x, w = np.full((1, 700, length), 255, np.uint8), np.full((3, 700, 1), 127, np.int8)
    x[0, 0], w[:, 1] = 254, [[126], [1], [-128]]
    want = np.einsum("bct,oc->bot", x.astype(np.int64), w[:, :, 0].astype(np.int64)).astype(np.int32)
    for isa in ISAS:
        for weights in ((1,), ()):
            feeds = {f"x{i}": a for i, a in enumerate((x, w)) if i not in weights}
            made = model("ConvInteger", [x, w], {}, opset=17, consts=set(weights))
            np.testing.assert_array_equal(through_plan(made, feeds, isa)[0][0], want)


@pytest.mark.parametrize("trans", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_fused_matmul(trans: tuple[int, int], lead: tuple[int, ...]) -> None:
    a, b = f32(*lead, *((4, 3) if trans[0] else (3, 4))), f32(*lead, *((17, 4) if trans[1] else (4, 17)), seed=1)
    for consts in ((), (1,)):
        check("FusedMatMul", [a, b], consts=consts, alpha=0.5, transA=trans[0], transB=trans[1], **MS)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero", ["none", "packed", "float"])
@pytest.mark.parametrize(("k", "block"), [(32, 16), (70, 32), (48, 16)])
def test_matmul_nbits(bits: int, zero: str, k: int, block: int) -> None:
    if zero == "float" and bits == 8:
        pytest.skip("onnxruntime has none to compare with")
    n, blocks = 5, -(-k // block)
    packed = whole(n, blocks, block * bits // 8, dtype="uint8")
    ins: Ins = [f32(2, 3, k), packed, np.abs(f32(n, blocks, seed=2)) + np.float32(0.1)]
    if zero == "packed":
        ins.append(whole(n, -(-blocks * bits // 8), dtype="uint8", seed=3))
    elif zero == "float":
        ins.append(f32(n, blocks, seed=3))
    attrs = {"K": k, "N": n, "bits": bits, "block_size": block}
    check("MatMulNBits", ins, consts=range(1, len(ins)), **attrs, **MS)
    if zero == "none":
        check("MatMulNBits", [*ins, None, None, f32(n)], consts=[1, 2, 5], **attrs, **MS)
