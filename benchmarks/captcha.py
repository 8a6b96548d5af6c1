"""A reader of captchas as training scripts make them: convolutions over an image, two bidirectional GRUs along its width."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["captcha"]

ROWS, COLUMNS = 48, 192
FILTERS, POOLS = (32, 64, 128), ((2, 2), (2, 2), (2, 1))
HIDDEN, CLASSES = 96, 37


def captcha() -> bytes:
    """x [1, 1, 48, 192] to scores [48, 1, 37]: Conv, BatchNormalization, Relu, MaxPool three times, GRU twice, a linear layer."""
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {"shape": np.array([0, 0, -1])}
    nodes, value, channels = [], "x", 1

    def drawn(name: str, *shape: int, fan_in: int) -> str:
        weights[name] = (rng.uniform(-1, 1, shape) / np.sqrt(fan_in)).astype(np.float32)
        return name

    def add(op: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{op}_{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    for layer, (filters, pool) in enumerate(zip(FILTERS, POOLS, strict=True)):
        kernel = drawn(f"kernel{layer}", filters, channels, 3, 3, fan_in=3 * channels)
        value = add("Conv", [value, kernel], pads=[1, 1, 1, 1])
        norm = {"scale": (0.5, 1.5), "bias": (-0.1, 0.1), "mean": (-0.1, 0.1), "var": (0.5, 1.5)}
        weights |= {f"{name}{layer}": rng.uniform(*span, filters).astype(np.float32) for name, span in norm.items()}
        value = add("Relu", [add("BatchNormalization", [value, *(f"{name}{layer}" for name in norm)])])
        value, channels = add("MaxPool", [value], kernel_shape=pool, strides=pool), filters
    value = add("Reshape", [add("Transpose", [value], perm=[3, 0, 1, 2]), "shape"])
    size = channels * ROWS // 8
    for layer in range(2):
        sizes = {"W": (2, 3 * HIDDEN, size), "R": (2, 3 * HIDDEN, HIDDEN), "B": (2, 6 * HIDDEN)}
        ins = [value, *(drawn(f"{name}{layer}", *shape, fan_in=HIDDEN) for name, shape in sizes.items())]
        value = add("GRU", ins, hidden_size=HIDDEN, direction="bidirectional", linear_before_reset=1)
        value, size = add("Reshape", [add("Transpose", [value], perm=[0, 2, 1, 3]), "shape"]), 2 * HIDDEN
    value = add("MatMul", [value, drawn("head", size, CLASSES, fan_in=size)])
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        "captcha",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, ROWS, COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
