"""Operators that are not built run as the functions that ONNX defines them by."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import lstm_infer
from lstm_infer import importer
from lstm_infer.importer.element_types import element_types
from lstm_infer.ops.registry import is_built

RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype(np.float32)


def one(op: str, feeds: dict[str, Any], opset: int, ir_version: int = 10, **attrs: Any) -> Any:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"this onnx knows no opset {opset}")
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node(op, list(feeds), ["y"], **attrs)], "g", ports, out)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


CASES: list[tuple[str, int, dict[str, Any], dict[str, Any]]] = [
    ("Attention", 23, {"q": f32(2, 3, 4, 8), "k": f32(2, 3, 6, 8), "v": f32(2, 3, 6, 5)}, {}),
    ("Attention", 23, {"q": f32(2, 4, 24), "k": f32(2, 6, 24), "v": f32(2, 6, 24)},
     {"q_num_heads": 3, "kv_num_heads": 3, "is_causal": 1, "softcap": 2.0}),
    ("RotaryEmbedding", 23, {"x": f32(2, 3, 4, 8), "c": f32(2, 4, 4), "s": f32(2, 4, 4)}, {}),
    ("GroupNormalization", 18, {"x": f32(2, 6, 5), "s": f32(3), "b": f32(3)}, {"num_groups": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "opset", "feeds", "attrs"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_as_onnxruntime(op: str, opset: int, feeds: dict[str, Any], attrs: dict[str, Any]) -> None:
    made = one(op, feeds, opset, **attrs)
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, feeds)
    np.testing.assert_allclose(lstm_infer.load(made).run(feeds)["y"], want, rtol=1e-4, atol=1e-5)


def test_without_a_list_of_what_is_built_nodes_stay() -> None:
    made = one(CASES[0][0], CASES[0][2], 23)
    assert [node.op for node in importer.read(made).nodes] == ["Attention"]
    assert "Attention" not in {node.op for node in importer.read(made, is_built).nodes}


def test_an_operator_stays_from_the_first_opset_that_is_built() -> None:
    feeds = {"x": f32(2, 6, 5), "s": f32(6), "b": f32(6)}
    made = one("GroupNormalization", feeds, 21, num_groups=3)
    assert [node.op for node in importer.read(made, is_built).nodes] == ["GroupNormalization"]


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(op: str, periodic: int) -> None:
    size = {"n": np.array(16, np.int64)}
    made = one(op, size, 17, periodic=periodic)
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, size)
    np.testing.assert_allclose(lstm_infer.load(made, constants=size).run({})["y"], want, atol=1e-6)


def test_a_wrong_attribute_or_number_of_inputs_is_still_an_error() -> None:
    q, k = f32(2, 3, 4, 8), f32(2, 3, 6, 8)
    with pytest.raises(lstm_infer.LstmInferError, match="2 inputs"):
        lstm_infer.load(one("Attention", {"q": q, "k": k}, 23))
    with pytest.raises(lstm_infer.LstmInferError, match="magic"):
        lstm_infer.load(one("HannWindow", {"n": np.array(16, np.int64)}, 17, magic=1))


def test_an_operator_that_has_no_function_is_refused_by_name() -> None:
    with pytest.raises(lstm_infer.LstmInferError, match="Det is not supported"):
        lstm_infer.load(one("Det", {"x": f32(3, 3)}, 22))


def test_inputs_that_a_function_lacks_are_an_error() -> None:
    made = one("CenterCropPad", {"x": f32(4, 5)}, 18)
    made.graph.node[0].input.append("")
    with pytest.raises(lstm_infer.LstmInferError):
        lstm_infer.load(made).run({"x": f32(4, 5)})


def test_a_size_of_nothing_is_an_error() -> None:
    feeds = {"theta": f32(1, 2, 3), "size": np.zeros(0, np.int64)}
    with pytest.raises(lstm_infer.LstmInferError):
        lstm_infer.load(one("AffineGrid", feeds, 20), constants={"size": feeds["size"]}).run({"theta": feeds["theta"]})


ROTATED = [((2, 3, 4, 8), {}), ((2, 4, 24), {"num_heads": 3}), ((2, 3, 4, 8), {"num_heads": 3})]


@pytest.mark.parametrize(("shape", "attrs"), ROTATED, ids=["4 axes", "3 axes", "4 axes and heads"])
def test_a_rank_that_the_file_does_not_declare(shape: tuple[int, ...], attrs: dict[str, int]) -> None:
    """The body of RotaryEmbedding is for one rank: both are there, and the one that fits is taken."""
    feeds = {"x": f32(*shape), "c": f32(2, 4, 4), "s": f32(2, 4, 4)}
    made = one("RotaryEmbedding", feeds, 23, **attrs)
    made.graph.node[0].input[0] = "same"
    made.graph.node.insert(0, helper.make_node("Neg", ["x"], ["same"]))
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, feeds)
    np.testing.assert_allclose(lstm_infer.load(made).run(feeds)["y"], want, rtol=1e-4, atol=1e-5)


BROKEN = {
    "GatherND": (["x", "i"], {"batch_dims": -7}),
    "LayerNormalization": (["x", "x"], {"axis": 2**63 - 1}),
    "Split": (["x"], {"axis": 1, "num_outputs": 1}),
}


@pytest.mark.parametrize("op", BROKEN)
@pytest.mark.parametrize("nested", [False, True], ids=["", "in a function"])
def test_a_broken_attribute_elsewhere_does_not_end_the_process(op: str, nested: bool) -> None:
    """ONNX's shape inference reads behind its memory for these; it is not asked for the types that a body needs."""
    inputs, attrs = BROKEN[op]
    made = one("CenterCropPad", {"x": f32(4, 5), "shape": np.array([2, 2])}, 20)
    node = helper.make_node(op, inputs, ["a", "b"][: 2 if op != "GatherND" else 1], **attrs)
    made.graph.initializer.append(helper.make_tensor("i", TensorProto.INT64, [1, 1], [0]))
    if nested:
        opsets = [helper.make_opsetid("", 20)]
        made.functions.append(helper.make_function("f", "broken", sorted(set(inputs)), ["a"], [node], opsets))
        made.opset_import.append(helper.make_opsetid("f", 1))
        node = helper.make_node("broken", sorted(set(inputs)), ["a"], domain="f")
    made.graph.node.insert(0, node)
    made.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    with pytest.raises(lstm_infer.LstmInferError):
        lstm_infer.load(made, constants={"shape": np.array([2, 2])})


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Element types as ONNX's own inference finds them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.value_info, *graph.output)}


@pytest.mark.parametrize("opset", [13, 20])
def test_element_types_are_those_of_onnx(opset: int) -> None:
    """Of nodes whose type comes from an input, from an attribute, from a body, from a function."""
    node, info, F, I = helper.make_node, helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT64
    body = helper.make_graph(
        [
            node("Identity", ["c"], ["d"]),
            node("Neg", ["v"], ["next"]),
            node("Cast", ["v"], ["w"], to=TensorProto.DOUBLE),
        ],
        "body",
        [info("i", I, []), info("c", TensorProto.BOOL, []), info("v", F, None)],
        [info("d", TensorProto.BOOL, []), info("next", F, None), info("w", TensorProto.DOUBLE, None)],
    )
    nodes = [
        node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["z"]), node("Cast", ["z"], ["h"], to=TensorProto.FLOAT16),
        node("TopK", ["h", "k"], ["t", "at"]), node("Equal", ["at", "at"], ["e"]), node("Where", ["e", "at", "at"], ["u"]),
        node("ConstantOfShape", ["s"], ["o"], value=helper.make_tensor("v", I, [1], [1])), node("EyeLike", ["x"], ["eye"]),
        node("EyeLike", ["x"], ["eyes"], dtype=TensorProto.INT32), node("RandomNormalLike", ["h"], ["r"]),
        node("Constant", [], ["q"], value_float=1.0), node("twice", ["u"], ["tw", "ice"], domain="f"),
        node("If", ["b"], ["if"], then_branch=helper.make_graph([node("Neg", ["u"], ["n"])], "t", [], [info("n", I, None)]),
             else_branch=helper.make_graph([node("Abs", ["u"], ["m"])], "e", [], [info("m", I, None)])),
        node("Loop", ["k", "b", "x"], ["l", "rows"], body=body),
        node("CenterCropPad" if opset >= 18 else "Softmax", ["x", "s"][: 2 if opset >= 18 else 1], ["y"]),
    ]  # fmt: skip
    twice = helper.make_function(
        "f", "twice", ["a"], ["p", "f"], [node("Add", ["a", "a"], ["p"]), node("Cast", ["p"], ["f"], to=F)],
        [helper.make_opsetid("", opset)],
    )  # fmt: skip
    ends = [info("y", F, None)]
    inits = [helper.make_tensor("k", I, [1], [1]), helper.make_tensor("b", TensorProto.BOOL, [], [True])]
    graph = helper.make_graph(nodes, "g", [info("x", F, [2, 2])], ends, inits)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("f", 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=[twice], ir_version=10)
    want = kinds(made)
    got = {name: onnx.TypeProto.FromString(data).tensor_type.elem_type for name, data in element_types(made).items()}
    assert {name: got[name] for name in want} == want
    assert (got["l"], got["rows"], got["ice"]) == (F, TensorProto.DOUBLE, F)
    assert len(want) > 18
    assert all(want.values())
