"""Recurrences behind windows that are longer than the usual: a front end that makes frames of samples."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

UNITS = 5


def made(kernel: int, stride: int, pads: int) -> bytes:
    """Samples [B, 1, T] through Conv(kernel, stride) and an LSTM."""
    rng = np.random.default_rng(kernel)

    def random(*shape: int) -> Any:
        return rng.uniform(-0.3, 0.3, shape).astype(np.float32)

    consts = {"K": random(4, 1, kernel), "W": random(1, 4 * UNITS, 4), "R": random(1, 4 * UNITS, UNITS)}
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["frames"], strides=[stride], pads=[pads, pads]),
        helper.make_node("Relu", ["frames"], ["bands"]),
        helper.make_node("Transpose", ["bands"], ["steps"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["steps", "W", "R"], ["Y"], hidden_size=UNITS, name="lstm"),
        helper.make_node("Identity", ["Y"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 1, "T"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["F", 1, "B", UNITS])],
        [numpy_helper.from_array(array, name) for name, array in consts.items()],
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(64, 32, 0), (100, 40, 50), (400, 160, 0), (400, 160, 200), (1100, 400, 0)]
)
def test_pieces_of_samples_equal_the_whole(kernel: int, stride: int, pads: int) -> None:
    model = lstm_infer.load(made(kernel, stride, pads))
    assert [(port.time_axis, port.batch_axis) for port in model.inputs] == [(2, 0)]
    x = np.random.default_rng(1).standard_normal((2, 1, 3001)).astype(np.float32)
    whole = model.run({"x": x})["y"]
    assert len(whole) == (3001 + 2 * pads - kernel) // stride + 1
    stream = model.stream(batch=2)
    assert stream.lag == kernel - 1 - pads
    cuts = [0, 7, 7, 500, 1313, 1314, 3001]
    pieces = [stream.run(x[:, :, a:b]) for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([*pieces, stream.flush()]), whole)
