"""Operators that are not built run as the functions that ONNX defines them by."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import lstm_infer
from lstm_infer import importer
from lstm_infer.ops.registry import is_built

RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype(np.float32)


def one(op: str, feeds: dict[str, Any], opset: int, ir_version: int = 10, **attrs: Any) -> Any:
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
