"""An Add of a constant row behind a MatMul by a constant joins it, where nothing else reads between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

RNG = np.random.default_rng(6)
WEIGHTS = RNG.normal(size=(5, 7)).astype(np.float32)


def made(x: tuple[int, ...], bias: tuple[int, ...], *, turned: bool = False, read: str = "once") -> bytes:
    """Sigmoid(x W + bias); the product is read once, twice, or is an output."""
    outputs = ["y", "p"] if read == "output" else ["y"]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["b", "p"] if turned else ["p", "b"], ["s"]),
        helper.make_node("Mul", ["s", "p"], ["y"]) if read == "twice" else helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    inits = {"w": WEIGHTS, "b": RNG.normal(size=bias).astype(np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in inits.items()],
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def joined(file: bytes, x: tuple[int, ...]) -> bool:
    """Did they join; the values are onnxruntime's either way."""
    feed: dict[str, Any] = {"x": RNG.normal(size=x).astype(np.float32)}
    model, session = lstm_infer.load(file), ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for name, want in zip(names, session.run(names, feed), strict=True):
        got = model.run(feed)[name]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    return [node.op for node in model._graph.walk()][:2] != ["MatMul", "Add"]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bias", [(), (1,), (7,)])
@pytest.mark.parametrize("x", [(5,), (3, 5), (2, 3, 5), (2, 0, 5)])
def test_a_row_joins(x: tuple[int, ...], bias: tuple[int, ...], turned: bool) -> None:
    assert joined(made(x, bias, turned=turned), x)


@pytest.mark.parametrize("bias", [(1, 7), (3, 1), (2, 3, 7), (1, 1, 1, 7)])
def test_what_is_no_row_stays(bias: tuple[int, ...]) -> None:
    assert not joined(made((2, 3, 5), bias), (2, 3, 5))


@pytest.mark.parametrize("read", ["twice", "output"])
def test_a_product_with_another_reader_stays(read: str) -> None:
    assert not joined(made((2, 3, 5), (7,), read=read), (2, 3, 5))


def test_product_bias_and_activation_are_one_step() -> None:
    model = lstm_infer.load(made((2, 3, 5), (7,)))
    facts = model._roles.feeds(*model._roles.analysis_sizes())
    assert model._program(facts, ["y"]).slots == ("matmul_f32",)
