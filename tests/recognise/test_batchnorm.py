"""BatchNormalization behind a product with constant weights is folded, where nothing else reads between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

RNG = np.random.default_rng(5)


def made(op: str, w: Any, x: Any, bias: bool, read_twice: bool, **attrs: Any) -> bytes:
    filters = {"Conv": w.shape[0], "ConvTranspose": w.shape[1] * attrs.get("group", 1)}.get(
        op, w.shape[0 if attrs.get("transB") else 1]
    )
    params = {"s": RNG.uniform(0.5, 2, filters), "b": RNG.normal(size=filters), "m": RNG.normal(size=filters),
              "v": RNG.uniform(0.1, 3, filters), "w": w, "c": RNG.normal(size=filters)}  # fmt: skip
    nodes = [
        helper.make_node(op, ["x", "w", *(["c"] if bias else [])], ["p"], **attrs),
        helper.make_node("BatchNormalization", ["p", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Add", ["n", "p"], ["y"]) if read_twice else helper.make_node("Relu", ["n"], ["y"]),
    ]
    inits = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in params.items() if bias or k != "c"]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], inits)  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


CASES = {
    "conv": ("Conv", (6, 3, 3), (2, 3, 9), {"pads": [1, 1]}),
    "conv_groups": ("Conv", (6, 1, 3, 2), (1, 3, 5, 6), {"group": 3, "strides": [1, 2]}),
    "convtranspose_groups": ("ConvTranspose", (4, 3, 3), (2, 4, 7), {"group": 2, "strides": [2]}),
    "gemm": ("Gemm", (5, 7), (3, 5), {}),
    "gemm_turned": ("Gemm", (7, 5), (3, 5), {"transB": 1}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("read_twice", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_folded_or_not_the_values_stay(case: str, bias: bool, read_twice: bool) -> None:
    op, w_shape, x_shape, attrs = CASES[case]
    x = RNG.normal(size=x_shape).astype(np.float32)
    file = made(op, RNG.normal(size=w_shape).astype(np.float32), x, bias, read_twice, **attrs)
    model = lstm_infer.load(file)
    want = ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_allclose(model.run({"x": x})["y"], want, rtol=1e-4, atol=1e-5)
    kept = any(node.op == "BatchNormalization" for node in model._graph.walk())
    assert kept == read_twice
