"""Products that a quantiser took apart: which become one operator, and that the answers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from sums_of_bytes import exact

K, M = 24, 40
RNG = np.random.default_rng(0)
BYTES = {
    "int8": RNG.integers(-127, 128, (K, M)).astype(np.int8),
    "uint8": RNG.integers(0, 256, (K, M)).astype(np.uint8),
}
ROW = RNG.standard_normal(M).astype(np.float32)


class Made:
    """A graph as it is written down."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def put(self, array: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.tensors)}"))
        return self.tensors[-1].name

    def add(self, op: str, ins: list[str], n: int = 1, **attrs: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(n)]
        domain = "com.microsoft" if op.endswith("ToFloat") else ""
        self.nodes.append(helper.make_node(op, ins, names, name=f"n{len(self.nodes)}", domain=domain, **attrs))
        return names

    def model(self, outputs: dict[str, int]) -> onnx.ModelProto:
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", K])]
        outs = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
        graph = helper.make_graph(self.nodes, "g", ports, outs, self.tensors)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def dynamic(
    made: Made, kind: str = "int8", channels: bool = False, swap: bool = False, ends: str = ""
) -> dict[str, int]:
    """As quantize_dynamic writes a MatMul. ends: a value between that the graph gives out, too."""
    q, scale, zero = made.add("DynamicQuantizeLinear", ["x"], 3)
    size = M if channels else 1
    w_scale = made.put(RNG.uniform(0.001, 0.02, size).astype(np.float32))
    w_zero = made.put(RNG.integers(1, 100, size).astype(kind) if channels else np.array(7, kind))
    (product,) = made.add("MatMulInteger", [q, made.put(BYTES[kind]), zero, w_zero])
    (cast,) = made.add("Cast", [product], to=TensorProto.FLOAT)
    (scales,) = made.add("Mul", [w_scale, scale] if swap else [scale, w_scale])
    (y,) = made.add("Mul", [scales, cast] if swap else [cast, scales])
    row = made.put(ROW)
    (out,) = made.add("Add", [row, y] if swap else [y, row])
    between = {"product": (product, TensorProto.INT32), "cast": (cast, 1), "scaled": (y, 1), "scale": (scale, 1)}
    return {out: 1, **dict([between[ends]] if ends else [])}


def static(
    made: Made, op: str = "MatMul", kind: str = "int8", channels: bool = False, other: bool = False
) -> dict[str, int]:
    """As quantize_static writes a MatMul or Gemm in QDQ. other: dequantised with another scale than it was quantised with."""
    scale, zero = made.put(np.float32(0.02)), made.put(np.array(101, np.uint8))
    (q,) = made.add("QuantizeLinear", ["x", scale, zero])
    (x,) = made.add("DequantizeLinear", [q, made.put(np.float32(0.021)) if other else scale, zero])
    turned = op == "Gemm"
    w = made.put(BYTES[kind].T.copy() if turned else BYTES[kind])
    w_scale = RNG.uniform(0.001, 0.02, M).astype(np.float32) if channels else np.float32(0.01)
    w_zero = np.zeros(M, kind) if channels else np.array(5, kind)
    (w,) = made.add("DequantizeLinear", [w, made.put(w_scale), made.put(w_zero)], axis=0 if turned else 1)
    if not turned:
        return {made.add("MatMul", [x, w])[0]: 1}
    ints = (ROW / 0.0002).astype(np.int32)
    bias = made.add("DequantizeLinear", [made.put(ints), made.put(np.float32(0.0002)), made.put(np.int32(0))])
    return {made.add("Gemm", [x, w, *bias], transB=1)[0]: 1}


def to_float(made: Made, bias: bool = True) -> dict[str, int]:
    """As onnxruntime saves the first, optimised in part."""
    q, scale, zero = made.add("DynamicQuantizeLinear", ["x"], 3)
    ins = [q, made.put(BYTES["uint8"]), scale, made.put(np.float32(0.01)), zero, made.put(np.array(120, np.uint8))]
    return {made.add("MatMulIntegerToFloat", [*ins, made.put(ROW)] if bias else ins)[0]: 1}


def compared(build: Callable[..., dict[str, int]], **how: Any) -> lstm_infer.Model:
    """The model, whose answers are those of onnxruntime."""
    made = Made()
    model = made.model(build(made, **how))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = exact(model.SerializeToString(), options)
    mine = lstm_infer.load(model)
    for n in (1, 5):
        x = np.random.default_rng(n).standard_normal((n, K)).astype(np.float32)
        for want, got in zip(session.run(None, {"x": x}), mine.run({"x": x}).values(), strict=True):
            assert want.dtype == got.dtype
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    return mine


def operators(model: lstm_infer.Model) -> list[str]:
    return [node.op for node in model._graph.nodes]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_dynamic_product(kind: str, channels: bool, swap: bool) -> None:
    model = compared(dynamic, kind=kind, channels=channels, swap=swap)
    assert operators(model) == ["DynamicQuantizeMatMul"]
    assert [(layer.precision, layer.n_weights) for layer in model.layers] == [("int8", K * M)]


@pytest.mark.parametrize("ends", ["product", "cast"])
def test_sums_that_others_read_stay(ends: str) -> None:
    assert "MatMulInteger" in operators(compared(dynamic, ends=ends))


def test_other_readers_of_what_does_not_go() -> None:
    assert operators(compared(dynamic, ends="scaled")) == ["DynamicQuantizeMatMul", "Add"]
    assert sorted(operators(compared(dynamic, ends="scale"))) == ["DynamicQuantizeLinear", "DynamicQuantizeMatMul"]


@pytest.mark.parametrize("bias", [False, True])
def test_product_to_float(bias: bool) -> None:
    assert operators(compared(to_float, bias=bias)) == ["DynamicQuantizeMatMul"]


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("channels", [False, True])
def test_static_product(op: str, kind: str, channels: bool) -> None:
    model = compared(static, op=op, kind=kind, channels=channels)
    assert operators(model) == ["StaticQuantizeMatMul"]
    assert [layer.precision for layer in model.layers] == ["int8"]


def test_what_is_dequantised_otherwise_stays() -> None:
    assert "QuantizeLinear" in operators(compared(static, other=True))
