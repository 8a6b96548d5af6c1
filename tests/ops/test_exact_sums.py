"""MatMulInteger near 2^24, up to which float32 holds every whole number: weights stay in 8 bits below it, sums are exact beyond."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer


def product(w: np.ndarray) -> onnx.ModelProto:
    """y = a w with a of uint8 and no zero point of w."""
    node = helper.make_node("MatMulInteger", ["a", "w", "zero"], ["y"], name="product")
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, ["N", len(w)])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, ["N", w.shape[1]])
    tensors = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.array(0, np.uint8), "zero")]
    graph = helper.make_graph([node], "g", [a], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("k", "in_8_bits"), [(100, True), (518, True), (519, False), (3000, False), (40000, False)])
def test_every_sum_is_exact(k: int, in_8_bits: bool) -> None:
    w = np.full((k, 5), 127, np.int8)  # 518 * 127 * 255 is just below 2^24
    w[:, 1], w[0, 2] = -127, 1
    a = np.full((3, k), 255, np.uint8)
    a[1], a[2, ::2] = np.arange(k) % 256, 1
    model = lstm_infer.load(product(w))
    np.testing.assert_array_equal(model.run({"a": a})["y"], a.astype(np.int64) @ w.astype(np.int64))
    assert [layer.precision for layer in model.layers] == (["int8"] if in_8_bits else [])
