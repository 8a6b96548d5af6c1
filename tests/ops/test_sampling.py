"""Col2Im, LRN, GridSample, MaxUnpool and optionals against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from run import ISAS, close, expected, folded, model, through_plan

import lstm_infer
from lstm_infer.graph.ir import Array

RNG = np.random.default_rng(0)


def f32(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def check(op: str, ins: list[Array | None], consts: set[int], opset: int, **attrs: Any) -> None:
    made = model(op, ins, attrs, opset=opset, consts=consts)
    feeds = {f"x{i}": a for i, a in enumerate(ins) if a is not None and i not in consts}
    (want,) = expected(made, feeds)
    close(folded(model(op, ins, attrs, opset=opset, consts=set(range(len(ins)))))[0], want)
    for isa in ISAS:
        close(through_plan(made, feeds, isa)[0][0], want)


FOLDS: list[tuple[tuple[int, ...], list[int], list[int], dict[str, Any]]] = [
    ((2, 8, 12), [5, 4], [2, 2], {}),
    ((1, 12, 9), [6, 7], [2, 3], {"strides": [2, 2], "pads": [0, 0, 0, 0], "dilations": [1, 1]}),
    ((1, 6, 16), [5, 5], [2, 3], {"pads": [1, 0, 1, 1], "dilations": [3, 1], "strides": [1, 1]}),
    ((2, 6, 4), [12], [6], {"strides": [2]}),
]


@pytest.mark.parametrize(("shape", "image", "block", "attrs"), FOLDS)
def test_col2im(shape: tuple[int, ...], image: list[int], block: list[int], attrs: dict[str, Any]) -> None:
    check("Col2Im", [f32(*shape), np.array(image), np.array(block)], {1, 2}, 18, **attrs)


def test_col2im_that_makes_no_sense() -> None:
    for image, block in (([1 << 60, 4], [2, 2]), ([5, 4], [3, 3]), ([5, 4], [0, 2]), ([-5, 4], [2, 2])):
        made = model("Col2Im", [f32(2, 8, 12), np.array([5, 4]), np.array([2, 2])], {}, opset=18, consts={1, 2})
        for tensor, value in zip(made.graph.initializer, (image, block), strict=True):
            tensor.CopyFrom(numpy_helper.from_array(np.array(value), tensor.name))
        del made.graph.value_info[:]
        with pytest.raises(lstm_infer.LstmInferError, match="Col2Im"):
            lstm_infer.load(made).run({"x0": f32(2, 8, 12)})


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_lrn(size: int) -> None:
    check("LRN", [f32(2, 7, 3, 4)], set(), 13, size=size, alpha=0.2, beta=0.6, bias=1.5)
    check("LRN", [f32(2, 7, 3, 4)], set(), 13, size=size)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(padding: str, corners: int) -> None:
    how: dict[str, Any] = {"padding_mode": padding, "align_corners": corners}
    x, grid = f32(2, 3, 5, 4), f32(2, 6, 7, 2)
    for mode in ("bilinear", "nearest", "bicubic"):
        check("GridSample", [x, grid], set(), 16, mode=mode, **how)
    for mode in ("linear", "nearest", "cubic"):
        check("GridSample", [x, grid], set(), 20, mode=mode, **how)
    for mode in ("linear", "nearest"):
        check("GridSample", [f32(1, 2, 3, 4, 5), f32(1, 2, 3, 4, 3)], set(), 20, mode=mode, **how)


def test_max_unpool() -> None:
    x = f32(1, 2, 2, 3)
    index = RNG.permutation(2 * 4 * 6)[: x.size].reshape(x.shape)
    check("MaxUnpool", [x, index], set(), 11, kernel_shape=[2, 2], strides=[2, 2])
    index = RNG.permutation(2 * 5 * 7)[: x.size].reshape(x.shape)
    check("MaxUnpool", [x, index, np.array([1, 2, 5, 7])], {2}, 11, kernel_shape=[2, 2], strides=[2, 2])


def test_optionals_of_tensors() -> None:
    then, other = (
        helper.make_graph([helper.make_node(op, ["v"], [out])], op, [], [helper.make_tensor_value_info(out, 1, None)])
        for op, out in (("Neg", "t"), ("Relu", "o"))
    )
    nodes = [
        helper.make_node("Optional", ["x"], ["o1"]),
        helper.make_node("OptionalHasElement", ["o1"], ["has"]),
        helper.make_node("OptionalGetElement", ["o1"], ["v"]),
        helper.make_node("If", ["has"], ["y"], then_branch=then, else_branch=other),
    ]
    x = f32(2, 3)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_tensor_value_info("y", 1, x.shape)]
    )
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(lstm_infer.load(made).run({"x": x})["y"], want)
