"""What a model says of its outputs."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import lstm_infer


def test_an_output_of_undeclared_rank_has_the_rank_it_is_found_to_have():
    nodes = [helper.make_node("RNN", ["x", "W", "R"], ["Y"], hidden_size=2)]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", 3])]
    outs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)]
    weights = {"W": np.ones((1, 2, 3), np.float32), "R": np.ones((1, 2, 2), np.float32)}
    consts = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ports, outs, consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (info,) = lstm_infer.load(model.SerializeToString()).outputs
    assert (info.shape, info.batch_axis, info.time_axis) == ((None,) * 4, 2, 0)


def test_the_summary_names_what_draws_at_random():
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], name="noise"),
        helper.make_node("Add", ["x", "noise"], ["louder"]),
        helper.make_node("RNN", ["louder", "W", "R"], ["Y"], hidden_size=2),
    ]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", 3])]
    outs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "B", 2])]
    weights = {"W": np.ones((1, 2, 3), np.float32), "R": np.ones((1, 2, 2), np.float32)}
    consts = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ports, outs, consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (line,) = [text for text in lstm_infer.load(model.SerializeToString()).summary().split("\n") if "random" in text]
    assert "'noise'" in line and "by seed, signal and step" in line
