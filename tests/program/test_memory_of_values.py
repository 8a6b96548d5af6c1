"""Memory of the values between nodes: each is whole until its last reader, and used again behind it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer.graph.fact import Fact
from lstm_infer.importer import read
from lstm_infer.lower import builder, lower
from lstm_infer.program.assemble import assemble
from lstm_infer.program.store import ConstStore
from lstm_infer.walk.walk import walk


def model(nodes: list[Any], consts: dict[str, Any], width: int) -> onnx.ModelProto:
    """x [3, 16] -> y [3, width]."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, n]) for name, n in (("x", 16), ("y", width)))
    held = [numpy_helper.from_array(value, name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("seed", range(12))
def test_values_of_many_sizes_that_live_for_different_times(seed: int) -> None:
    """Products of the value before, and of one that was made long ago; each reads a value for the last time somewhere."""
    rng = np.random.default_rng(seed)
    values = {"x": rng.uniform(-1, 1, (3, 16)).astype(np.float32)}
    consts, nodes = {}, []
    for k in range(30):
        width = int(rng.integers(1, 9)) * 16
        last, old = list(values)[-1], list(values)[int(rng.integers(0, len(values)))]
        total = np.zeros((3, width))
        for side, name in (("a", last), ("b", old)):
            n = values[name].shape[1]
            consts[f"{side}{k}"] = (rng.standard_normal((n, width)) / np.sqrt(n)).astype(np.float32)
            nodes.append(helper.make_node("MatMul", [name, f"{side}{k}"], [f"{side}x{k}"]))
            total = total + values[name].astype(np.float64) @ consts[f"{side}{k}"]
        result = "y" if k == 29 else f"v{k}"
        nodes.append(helper.make_node("Add", [f"ax{k}", f"bx{k}"], [f"s{k}"]))
        nodes.append(helper.make_node("Tanh", [f"s{k}"], [result]))
        values[result] = np.tanh(total).astype(np.float32)
    made = lstm_infer.load(model(nodes, consts, values["y"].shape[1]))
    np.testing.assert_allclose(made.run({"x": values["x"]})["y"], values["y"], rtol=1e-4, atol=1e-5)


def test_a_chain_needs_no_more_memory_when_it_is_longer() -> None:
    def arena_of(n: int) -> int:
        names = ["x", *(f"v{k}" for k in range(n)), "y"]
        consts = {f"w{name}": np.eye(16, dtype=np.float32) for name in names[1:]}
        nodes = [helper.make_node("MatMul", [a, f"w{b}"], [b]) for a, b in pairwise(names)]
        walked = walk(read(model(nodes, consts, 16)), {"x": Fact((3, 16), np.dtype(np.float32))})
        b = builder(walked.facts, ConstStore(), "scalar")
        b.input("x", 0)
        lower(walked, b)
        return assemble(b, 1, [b.output("y", 0)]).arena_bytes

    assert arena_of(30) == arena_of(4) > 0
