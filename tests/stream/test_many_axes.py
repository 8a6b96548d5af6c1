"""Ports of more axes than a call into C holds: such streams take the general path."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer


@pytest.mark.parametrize("rank", [15, 16, 17, 20])
def test_axes_of_one_as_many_as_there_are(rank: int) -> None:
    rng = np.random.default_rng(0)
    consts = {"W": rng.normal(size=(1, 16, 4)), "R": rng.normal(size=(1, 16, 4))}
    given = {name: value.astype(np.float32) for name, value in consts.items()}
    given |= {"flat": np.array([0, 0, 4]), "one": np.array([1]), "axes": np.arange(2, rank - 1)}
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["s"]),
        helper.make_node("LSTM", ["s", "W", "R"], ["Y"], hidden_size=4),
        helper.make_node("Squeeze", ["Y", "one"], ["z"]),
        helper.make_node("Unsqueeze", ["z", "axes"], ["y"]),
    ]
    shape = ["T", "B", *[1] * (rank - 3), 4]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(value, name) for name, value in given.items()]
    graph = helper.make_graph(nodes, "deep", ports[:1], ports[1:], tensors)
    model = lstm_infer.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    x = rng.normal(size=(5, 2, *[1] * (rank - 3), 4)).astype(np.float32)
    want = model.run({"x": x})["y"]
    stream, pool = model.stream(2), model.pool()
    got = np.concatenate([stream.run(x[:2]), stream.step(x[2:3]), stream.run(x[3:])])
    np.testing.assert_array_equal(got, want)
    ids = [pool.open(), pool.open()]
    for frame, expected in zip(x, want, strict=True):
        np.testing.assert_array_equal(pool.step(ids, frame[:, None]), expected[:, None])


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="arrays of this NumPy have 32 axes")
def test_a_state_of_many_axes_goes_through_a_snapshot() -> None:
    shape = [1] * 40 + [4]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "h", "h_next")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "h"], ["h_next"])], "deep", ports[:2], ports[2:])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    stream, other = (lstm_infer.load(file, states={"h": "h_next"}).stream() for _ in range(2))
    x = np.arange(4, dtype=np.float32).reshape(shape)
    stream.step(x)
    other.restore(stream.snapshot())  # of another load, which knows no such snapshot
    np.testing.assert_array_equal(other.step(x), 2 * x)
