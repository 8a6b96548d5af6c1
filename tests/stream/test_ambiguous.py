"""States that cannot be told apart: no stream without a word from the caller, but the model can be looked at."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

import lstm_infer


def test_the_summary_says_what_is_missing() -> None:
    names = ["x", "p", "q", "first", "second"]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in names]
    nodes = [
        helper.make_node("Add", ["p", "q"], ["sum"]),
        helper.make_node("Add", ["sum", "x"], ["first"]),
        helper.make_node("Sub", ["sum", "x"], ["second"]),
    ]
    graph = helper.make_graph(nodes, "g", ports[:3], ports[3:])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = lstm_infer.load(data)
    text = model.summary()
    assert "streams: no" in text
    assert "states={" in text
    with pytest.raises(lstm_infer.StateError, match="states="):
        model.stream()
    assert lstm_infer.load(data, states={"p": "first", "q": "second"}).stream() is not None
