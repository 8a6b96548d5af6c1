"""Element-wise programs join, and store where a copy would have put them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import _core
from lstm_infer.errors import UnsupportedOpError
from lstm_infer.graph.fact import Fact
from lstm_infer.graph.ir import Array
from lstm_infer.importer import read
from lstm_infer.lower import builder, lower
from lstm_infer.program.assemble import assemble
from lstm_infer.program.store import ConstStore
from lstm_infer.walk.walk import walk

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
    b = builder(walked.facts, store, isa)
    b.input("x", 0)
    lower(walked, b)
    program = assemble(b, 1, [b.output(out, 0)])
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


ACTS = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "Softplus": {},
    "LeakyRelu": {"alpha": 0.3},
    "PRelu": None,
}
HURT = np.array(
    [0.0, -0.0, 1e-42, -1e-42, 3e38, -3e38, np.inf, -np.inf, np.nan, 87.0, -104.0, 0.4], np.float32
).reshape(3, 4)


def run_values(
    nodes: list[Any], consts: dict[str, Any], feed: Any, shape: list[int], isa: str
) -> tuple[Any, tuple[str, ...]]:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, feed.shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    inits = [numpy_helper.from_array(np.asarray(v), k) for k, v in consts.items()]
    made = helper.make_graph(nodes, "g", [x], [y], inits)
    graph = read(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]))
    walked = walk(graph, {"x": Fact(feed.shape, feed.dtype)})
    store = ConstStore()
    b = builder(walked.facts, store, isa)
    b.input("x", 0)
    lower(walked, b)
    program = assemble(b, 1, [b.output("y", 0)])
    result = np.zeros(shape, np.float32)
    program.run([store.anchor, None, _core.aligned_empty(program.arena_bytes + 64), feed, result])
    return result, program.slots


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", ["MatMul", "Conv", "ConvTranspose"])
def test_an_activation_behind_a_product_has_the_bits_of_a_map(isa: str, act: str, kind: str) -> None:
    """The product copies x (identity weights), so that values that hurt reach the activation."""
    attrs, consts = ACTS[act], {}
    if attrs is None:
        consts["slope"] = np.array([0.3], np.float32)
    behind = helper.make_node(act, ["m", "slope"] if attrs is None else ["m"], ["y"], **(attrs or {}))
    feed = HURT if kind == "MatMul" else HURT.reshape(1, 1, 12)
    if kind == "MatMul":
        feed = np.diag(np.concatenate([feed.ravel(), [1, 2, 3, 4, 5]])).astype(np.float32)[:, :17]
        feed[~np.isfinite(feed)] = 7e37  # 0 x inf would hide the rest
        consts["w"] = np.eye(17, dtype=np.float32)
        first = helper.make_node("MatMul", ["x", "w"], ["m"])
    else:
        consts["w"] = np.ones((1, 1, 1), np.float32)
        first = helper.make_node(kind, ["x", "w"], ["m"])
    got, slots = run_values([first, behind], consts, feed, list(feed.shape), isa)
    assert len(slots) == 1
    # the same with another reader of the product, which keeps both steps
    alone = helper.make_node(act, behind.input[:], ["a"], **(attrs or {}))
    kept = [first, alone, helper.make_node("Concat", ["m", "a"], ["y"], axis=0)]
    twice, slots = run_values(kept, consts, feed, [2 * feed.shape[0], *feed.shape[1:]], isa)
    assert "map_f32" in slots
    want = twice[feed.shape[0] :]
    if isa == "scalar":
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
    else:
        np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(want)], want.view(np.uint32)[~np.isnan(want)])
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@pytest.mark.parametrize("isa", ISAS)
def test_phases_of_a_transposed_convolution_store_into_a_concat(isa: str) -> None:
    rng = np.random.default_rng(0)
    feed, w = rng.standard_normal((1, 2, 5, 6), np.float32), rng.standard_normal((2, 3, 3, 4), np.float32)
    attrs = {"strides": [2, 3], "pads": [1, 0, 0, 1]}
    whole = [helper.make_node("ConvTranspose", ["x", "w"], ["m"], **attrs), helper.make_node("Relu", ["m"], ["a"]),
             helper.make_node("Concat", ["a", "a"], ["y"], axis=3)]  # fmt: skip
    alone = [whole[0], helper.make_node("Relu", ["m"], ["y"])]
    one, slots = run_values(alone, {"w": w}, feed, [1, 3, 10, 18], isa)
    assert set(slots) == {"conv_f32"}
    two, _ = run_values(whole, {"w": w}, feed, [1, 3, 10, 36], isa)
    np.testing.assert_array_equal(two, np.concatenate([one, one], 3))


def test_an_activation_behind_one_that_a_product_has_already() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 3, 1)).astype(np.float32)
    nodes = [
        helper.make_node("FusedConv", ["x", "w"], ["gate"], domain="com.microsoft", activation="Sigmoid"),
        helper.make_node("Tanh", ["gate"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 9]), ("y", [1, 4, 9]))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(weights, "w")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    x = rng.standard_normal((1, 3, 9)).astype(np.float32)
    made = lstm_infer.load(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    want = np.tanh(1 / (1 + np.exp(-(weights[:, :, 0] @ x))))
    np.testing.assert_allclose(made.run({"x": x})["y"], want, rtol=1e-5)


def test_what_is_read_turned_is_not_joined_as_it_lies() -> None:
    """A square, and a piece of it turned, lie at the same place in memory with other strides."""
    square = np.arange(16, dtype=np.float32).reshape(4, 4) / 8
    consts = {"from": [0, 0], "two": [2, 2], "right": [0, 2], "one": [1, 4]}
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Transpose", ["t"], ["turned"], perm=[1, 0]),
        helper.make_node("Neg", ["turned"], ["y"]),
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0]),
        helper.make_node("Slice", ["x", "from", "two"], ["corner"]),
        helper.make_node("Slice", ["xt", "right", "one"], ["rest"]),
        helper.make_node("Concat", ["corner", "rest"], ["z"], axis=0),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [4, 4]), ("y", [4, 4]), ("z", [3, 2]))
    ]
    held = [numpy_helper.from_array(np.array(value), name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], held)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    got = lstm_infer.load(data).run({"x": square})
    np.testing.assert_allclose(got["y"], -np.tanh(square).T, rtol=1e-5)
    np.testing.assert_array_equal(got["z"], np.concatenate([square[:2, :2], square.T[:1, 2:]]))


@pytest.mark.parametrize("behind", ["", "Neg", "Add", "Softmax"])
def test_more_axes_than_a_kernel_walks_are_refused_by_name(behind: str) -> None:
    """Nine axes that are turned round; as they lie in memory they are one."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2] * 9) for name in "xy")
    turned = helper.make_node("Transpose", ["x"], ["t" if behind else "y"], perm=range(8, -1, -1))
    rest = [helper.make_node(behind, ["t", "x"] if behind == "Add" else ["t"], ["y"], name="behind")] if behind else []
    plain = helper.make_node("Neg", ["x"], ["y"])
    refused, fine = (
        helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
        for nodes in ([turned, *rest], [plain])
    )
    with pytest.raises(UnsupportedOpError, match=("'behind'" if behind else "'y'") + ".*more than 8 axes"):
        lstm_infer.load(refused.SerializeToString()).run({"x": np.ones([2] * 9, np.float32)})
    ones = np.ones([2] * 9, np.float32)
    np.testing.assert_array_equal(lstm_infer.load(fine.SerializeToString()).run({"x": ones})["y"], -ones)
