"""Element-wise programs join, and store where a copy would have put them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from lstm_infer import _core
from lstm_infer.facts import walk
from lstm_infer.importer import read
from lstm_infer.ir import Array
from lstm_infer.ops.registry import Fact
from lstm_infer.plan import Builder
from lstm_infer.store import ConstStore

ISAS = [name for name, runs in _core.list_isas() if runs]
X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def run(nodes: list[Any], out: str, shape: list[int], isa: str) -> tuple[Array, tuple[str, ...]]:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])
    y = helper.make_tensor_value_info(out, TensorProto.FLOAT, shape)
    graph = read(
        helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    )
    walked = walk(graph, {"x": Fact((3, 4), np.dtype(np.float32))})
    store = ConstStore()
    b = Builder(walked.facts, store, isa)
    b.input("x", 0)
    b.lower(walked)
    program = b.finish(1, [b.output(out, 0)])
    result = np.zeros(shape, np.float32)
    program.run([store.anchor, None, _core.aligned_empty(program.arena_bytes + 64), X, result])
    return result, program.slots


@pytest.mark.parametrize("isa", ISAS)
def test_maps_store_into_a_concat(isa: str) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["x"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    got, slots = run(nodes, "y", [3, 8], isa)
    assert slots == ("map_f32", "map_f32")
    np.testing.assert_array_equal(got, np.concatenate([np.maximum(X, 0), -X], 1))


@pytest.mark.parametrize("isa", ISAS)
def test_a_value_with_two_readers_stays(isa: str) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Concat", ["a", "a"], ["y"], axis=0),
    ]
    got, _ = run(nodes, "y", [6, 4], isa)
    np.testing.assert_array_equal(got, np.concatenate([np.maximum(X, 0)] * 2, 0))


@pytest.mark.parametrize("isa", ISAS)
def test_a_comparison_joins_its_where(isa: str) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Less", ["x", "n"], ["c"]),
        helper.make_node("Where", ["c", "n", "x"], ["y"]),
    ]
    got, slots = run(nodes, "y", [3, 4], isa)
    assert len(slots) <= 2
    np.testing.assert_array_equal(got, np.where(X < -X, -X, X))
