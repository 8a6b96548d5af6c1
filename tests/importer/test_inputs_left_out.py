"""Nodes with too few inputs, too many, or an empty name for one that is needed: an error of ours for each operator."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

import lstm_infer
from lstm_infer.ops import registry


def one_node(op: registry.Op, inputs: list[str], opset: int) -> bytes:
    node = helper.make_node(op.name, inputs, ["y"], domain=op.domain)
    ends = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, 4])], ends)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(op.domain, 1)] if op.domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize("op", registry.registered(), ids=lambda op: op.name)
def test_any_number_of_inputs(op: registry.Op) -> None:
    for n in (0, 1, 2, 3, 13):
        for name in ("x", ""):
            for opset in (8, 22):
                try:
                    lstm_infer.load(one_node(op, [name] * n, opset))
                except lstm_infer.LstmInferError:
                    continue


def test_the_input_is_named() -> None:
    node = helper.make_node("Gather", ["x", ""], ["y"], "pick")
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])]
    graph = helper.make_graph([node], "g", ports, [helper.make_empty_tensor_value_info("y")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    with pytest.raises(lstm_infer.OnnxImportError, match="leaves out input 'indices', which Gather needs"):
        lstm_infer.load(made)
