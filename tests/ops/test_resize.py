"""Resize and Upsample against onnxruntime, over opsets; over other axes than time they stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from run import ISAS, close, expected, folded, model, through_plan

import lstm_infer
from lstm_infer.graph.ir import Array

WAYS = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
CASES: list[tuple[tuple[int, ...], tuple[float, ...]]] = [
    ((1, 2, 5, 7), (1, 1, 2, 3)),
    ((1, 2, 5, 7), (1, 1, 0.61, 0.71)),
    ((2, 2, 8, 8), (1, 1, 0.5, 2)),
    ((1, 1, 4, 9), (1, 1, 1, 2.3)),
    ((2, 9), (1, 2)),
    ((2, 3, 9), (1, 1, 1.69)),
    ((1, 2, 4, 5, 6), (1, 1, 2, 0.5, 1.5)),
]


def check(shape: tuple[int, ...], *, opset: int = 19, op: str = "Resize", dtype: str = "float32", scales: Any = None,
          sizes: Any = None, roi: Any = None, **attrs: Any) -> None:  # fmt: skip
    """One node: folded and planned on each instruction set, against onnxruntime."""
    x = np.asarray(np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)
    ins: list[Array | None] = [x]
    if opset > 10:
        ins.append(None if roi is None and opset > 11 else np.array([] if roi is None else roi, np.float32))
    if scales is not None or opset == 11:
        ins.append(np.array([] if scales is None else scales, np.float32))
    elif sizes is not None:
        ins.append(None)
    if sizes is not None:
        ins.append(np.array(sizes, np.int64))
    made = model(op, ins, attrs, opset=opset, consts={1, 2, 3})
    (want,) = expected(made, {"x0": x})
    close(folded(model(op, ins, attrs, opset=opset, consts={0, 1, 2, 3}))[0], want)
    for isa in ISAS:
        (got,), _ = through_plan(made, {"x0": x}, isa)
        close(got, want)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("shape", "scales"), CASES)
def test_nearest_and_linear(way: str, shape: tuple[int, ...], scales: tuple[float, ...]) -> None:
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        check(shape, scales=scales, coordinate_transformation_mode=way, nearest_mode=nearest)
    if len(shape) < 5 or scales[2] == 1:  # onnxruntime resizes up to three axes that way
        check(shape, scales=scales, coordinate_transformation_mode=way, mode="linear")
    out = [int(np.float32(n) * np.float32(s)) for n, s in zip(shape, scales, strict=True)]
    check(shape, sizes=out, coordinate_transformation_mode=way)
    check(shape, sizes=out, coordinate_transformation_mode=way, mode="linear")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("shape", "scales"), CASES[:4])
def test_cubic_and_antialias(way: str, shape: tuple[int, ...], scales: tuple[float, ...]) -> None:
    x: dict[str, Any] = {"scales": scales, "coordinate_transformation_mode": way}
    for more in ({}, {"exclude_outside": 1}, {"cubic_coeff_a": -0.5}, {"antialias": 1}):
        check(shape, mode="cubic", **x, **more)
    check(shape, mode="linear", antialias=1, **x)
    check(shape, mode="linear", antialias=1, exclude_outside=1, **x)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_over_very_many_taps(mode: str) -> None:
    check((1, 2, 90, 400), scales=(1, 1, 0.05, 0.01), mode=mode, antialias=1)
    check((1, 1, 3, 7000), sizes=(1, 1, 3, 1), mode=mode, antialias=1)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("roi", [[0.1] * 4 + [0.8] * 4, [-0.2] * 4 + [1.3] * 4])
def test_crop_and_resize(mode: str, roi: list[float]) -> None:
    way: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5}
    for scales in ((1, 1, 2, 3), (1, 1, 0.6, 0.7), (1, 1, 0.2, 1)):
        check((1, 2, 5, 7), scales=scales, roi=roi, mode=mode, **way)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_axes_and_aspect_ratio(policy: str) -> None:
    for axes in ([2, 3], [3, 2]):
        check((1, 2, 4, 6), sizes=[7, 9], axes=axes, keep_aspect_ratio_policy=policy)
        check((1, 2, 4, 6), sizes=[3, 2], axes=axes, keep_aspect_ratio_policy=policy, mode="linear")
    check((1, 2, 4, 6), scales=[3, 0.5], axes=[-1, 2], mode="linear")


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_older_opsets(opset: int) -> None:
    for mode in ("nearest", "linear", "cubic"):
        check((1, 2, 5, 7), opset=opset, scales=(1, 1, 2, 0.71), mode=mode)
        check((1, 2, 5, 7), opset=opset, sizes=(1, 2, 10, 9), mode=mode)
    if opset == 11:
        check((1, 2, 5, 7), opset=11, scales=(1, 1, 2, 0.71), coordinate_transformation_mode="tf_half_pixel_for_nn")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_before_opset_11(mode: str) -> None:
    for scales in ((1, 1, 2, 3), (1, 1, 1.5, 2.25)):
        check((1, 2, 5, 7), opset=10, scales=scales, mode=mode)
        check((1, 2, 5, 7), op="Upsample", opset=9, scales=scales, mode=mode)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "float16"])
def test_nearest_of_other_types(dtype: str) -> None:
    check((1, 2, 5, 7), scales=(1, 1, 2, 0.71), dtype=dtype)


BROKEN: list[tuple[Any, Any, dict[str, Any], str]] = [
    ([1, 1, 1e9, 1e9], None, {}, "GiB"),
    ([1, 1, np.nan, 1], None, {}, "positive"),
    ([1, 1, -2, 1], None, {}, "positive"),
    ([1, 1, np.inf, 1], None, {}, "positive"),
    ([1, 1, 1], None, {}, "3 scales or sizes for 4 axes"),
    (None, [1, 2, 1 << 62, 7], {}, "cannot be resized"),
    (None, [1, 2, -5, 7], {}, "cannot be resized"),
    (None, [1, 2, 0, 7], {}, "cannot be resized"),
    ([1, 1, 2, 2], [1, 2, 5, 7], {}, "either scales or sizes"),
    (None, None, {}, "either scales or sizes"),
    ([1, 1, 2, 2], None, {"mode": "quintic"}, "quintic"),
    ([1, 1, 2, 2], None, {"coordinate_transformation_mode": "tf_crop_and_resize"}, "roi"),
    ([1, 1, 2, 2], None, {"axes": [0, 1, 2, 9]}, "axis 9"),
    ([1, 1, 2, 2], None, {"antialias": 1}, "antialias"),
]


@pytest.mark.parametrize(("scales", "sizes", "attrs", "word"), BROKEN, ids=lambda value: str(value)[:20])
def test_what_makes_no_sense_is_an_error(scales: Any, sizes: Any, attrs: dict[str, Any], word: str) -> None:
    x = np.zeros((1, 2, 5, 7), np.float32)
    ins: list[Array | None] = [x, None, None if scales is None else np.array(scales, np.float32)]
    ins.append(None if sizes is None else np.array(sizes, np.int64))
    node = helper.make_node("Resize", ["" if a is None else f"x{i}" for i, a in enumerate(ins)], ["y"], **attrs)
    inits = [numpy_helper.from_array(a, f"x{i}") for i, a in enumerate(ins) if i and a is not None]
    ports = [helper.make_tensor_value_info("x0", 1, x.shape)], [helper.make_tensor_value_info("y", 1, None)]
    made = helper.make_model(helper.make_graph([node], "g", *ports, inits), opset_imports=[helper.make_opsetid("", 19)])
    made.ir_version = 9
    with pytest.raises(lstm_infer.LstmInferError, match=word):
        lstm_infer.load(made).run({"x0": x})


def test_an_empty_batch_stays_empty() -> None:
    x = np.zeros((0, 2, 5, 7), np.float32)
    made = model("Resize", [x, None, np.array([1, 1, 2, 2], np.float32)], {}, opset=19, consts={2})
    assert through_plan(made, {"x0": x}, ISAS[0])[0][0].shape == (0, 2, 10, 14)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_stream_resizes_what_is_not_time(mode: str) -> None:
    """[T, B, 4] -> features resized to 7 -> RNN over time."""
    rng = np.random.default_rng(1)
    w, r = (rng.standard_normal(s).astype(np.float32) for s in ((1, 3, 7), (1, 3, 3)))
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["x4"]),
        helper.make_node("Resize", ["x4", "", "", "size"], ["z4"], mode=mode, axes=[2, 3]),
        helper.make_node("Squeeze", ["z4", "one"], ["z"]),
        helper.make_node("RNN", ["z", "w", "r"], ["y"], hidden_size=3),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["T", "B", 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.array(v, t), n) for n, v, t in
         (("one", [2], "i8"), ("size", [1, 7], "i8"), ("w", w, "f4"), ("r", r, "f4"))],
    )  # fmt: skip
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    x = rng.standard_normal((9, 1, 4)).astype(np.float32)
    loaded = lstm_infer.load(made)
    want = loaded.run({"x": x})["y"]
    close(want, expected(made, {"x": x})[0])
    stream = loaded.stream()
    np.testing.assert_array_equal(np.concatenate([stream.run(x[:4]), stream.run(x[4:])]), want)
