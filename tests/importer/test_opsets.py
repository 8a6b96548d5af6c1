"""Old opsets in the modern form, held against onnxruntime where it still runs them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from importer_models import model, node, port, to_onnx
from onnx import TensorProto, helper

from lstm_infer import importer
from lstm_infer.errors import OnnxImportError, UnsupportedOpError

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)

SAME = [
    ("Squeeze", 11, "x1", {"axes": [0]}, 1),
    ("Squeeze", 11, "x1", {}, 1),
    ("Squeeze", 7, "x1", {"axes": [0]}, 1),
    ("Unsqueeze", 11, "x", {"axes": [0, 4]}, 1),
    ("Slice", 9, "x", {"starts": [1, 0], "ends": [3, -1], "axes": [1, 2]}, 1),
    ("Slice", 7, "x", {"starts": [1], "ends": [2]}, 1),
    ("Split", 11, "x", {"axis": 2, "split": [1, 3]}, 2),
    ("Split", 11, "x", {"axis": 2}, 2),
    ("Split", 13, "x", {"axis": 2}, 2),
    ("Split", 7, "x", {}, 2),
    ("ReduceSum", 11, "x", {"axes": [1], "keepdims": 0}, 1),
    ("ReduceSum", 11, "x", {}, 1),
    ("ReduceMean", 13, "x", {"axes": [-1]}, 1),
    ("ReduceMax", 12, "x", {"axes": [0, 2]}, 1),
    ("ReduceL2", 11, "x", {"axes": [1]}, 1),
    ("ReduceProd", 17, "x", {"axes": [1], "keepdims": 0}, 1),
    ("Pad", 9, "x", {"pads": [0, 1, 0, 0, 2, 0], "value": 1.5}, 1),
    ("Pad", 9, "x", {"pads": [0, 1, 0, 0, 2, 0], "mode": "reflect"}, 1),
    ("Clip", 9, "x", {"min": -0.5, "max": 0.25}, 1),
    ("Clip", 9, "x", {"max": 0.25}, 1),
    ("Clip", 9, "x", {}, 1),
    ("Dropout", 7, "x", {"ratio": 0.3}, 1),
    ("Dropout", 10, "x", {}, 1),
    ("Dropout", 12, "x", {}, 1),
    ("TopK", 9, "x", {"k": 2, "axis": 1}, 2),
    ("Softmax", 11, "x", {}, 1),
    ("Softmax", 11, "x", {"axis": 2}, 1),
    ("Softmax", 11, "x", {"axis": 0}, 1),
    ("Softmax", 13, "x", {}, 1),
    ("LogSoftmax", 11, "x", {}, 1),
    ("Hardmax", 11, "x", {}, 1),
    ("Upsample", 7, "x", {"scales": [1.0, 2.0, 1.5]}, 1),
    ("Upsample", 7, "x4", {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, 1),
]


@pytest.mark.parametrize(("op", "opset", "x", "attrs", "n_outputs"), SAME, ids=lambda value: str(value))
def test_modern_form_means_the_same(op: str, opset: int, x: str, attrs: dict[str, object], n_outputs: int) -> None:
    value = {"x": X, "x1": X[:1], "x4": X[:, None]}[x]
    outputs = [f"y{index}" for index in range(n_outputs)]
    made = model(
        [node(op, "x", " ".join(outputs), **attrs)],
        inputs=[port("x", value.shape)],
        outputs=[helper.make_empty_tensor_value_info(name) for name in outputs],
        opset=opset,
        ir_version=6,
    )
    want = run(made.SerializeToString(), value)
    got = run(to_onnx(importer.read(made)).SerializeToString(), value)
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(other, one)


def run(data: bytes, x: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(data).run(None, {"x": x})


@pytest.mark.parametrize("scale", [2.0, 0.4])
def test_resize_10_rounds_as_onnxruntime(scale: float) -> None:
    scales = np.array([1, 1, scale], np.float32)
    made = model(
        [node("Resize", "x s", "y", mode="nearest")],
        inputs=[port("x", X.shape)],
        tensors={"s": scales},
        opset=10,
        ir_version=5,
    )
    got = run(to_onnx(importer.read(made)).SerializeToString(), X)
    np.testing.assert_array_equal(got[0], run(made.SerializeToString(), X)[0])


def first(*args: object, **kwargs: object) -> object:
    return importer.read(model(*args, **kwargs)).nodes[0]


def test_marks_of_the_modern_form() -> None:
    assert first([node("Softmax", "x", "y")], opset=12).attrs == {"axis": 1, "coerce_2d": 1}
    assert first([node("Softmax", "x", "y")], opset=13).attrs == {"axis": -1}
    assert first([node("Split", "x", "y z")], opset=13).attrs["num_outputs"] == 2
    assert first([node("Dropout", "x", "y -")], opset=13).op == "Identity"
    assert first([node("Cast", "x", "y", to="FLOAT16")], opset=5).attrs["to"] == TensorProto.FLOAT16
    assert first([node("GridSample", "x x", "y", mode="bilinear")], opset=16).attrs["mode"] == "linear"
    reshape = importer.read(model([node("Reshape", "x", "y", shape=[3, 2])], opset=4, ir_version=3))
    np.testing.assert_array_equal(reshape.consts[reshape.nodes[0].inputs[1]], [3, 2])


def test_opset_stays_what_the_file_says() -> None:
    assert first([node("Softmax", "x", "y")], opset=11).opset == 11
    graph = importer.read(model([node("BiasGelu", "x x", "y", domain="com.microsoft")], domains=["com.microsoft"]))
    assert (graph.nodes[0].domain, graph.nodes[0].opset) == ("com.microsoft", 1)
    assert graph.opsets == {"": 17, "com.microsoft": 1}
    assert first([node("Relu", "x", "y", domain="ai.onnx")]).domain == ""


REFUSED = [
    ("LSTM", 6, "x x x", {"hidden_size": 2}, "before opset 7"),
    ("GRU", 3, "x x x", {"hidden_size": 2}, "before opset 7"),
    ("Add", 6, "x x", {"broadcast": 1}, "broadcasting by attribute"),
    ("Mul", 6, "x x", {"axis": 1}, "broadcasting by attribute"),
    ("BatchNormalization", 7, "x x x x x", {"spatial": 0}, "spatial=0"),
    ("BatchNormalization", 15, "x x x x x", {"training_mode": 1}, "training mode"),
    ("BatchNormalization", 6, "x x x x x", {}, "training mode"),
    ("Dropout", 6, "x", {}, "training mode"),
    ("Scan", 8, "- x", {}, "before opset 9"),
    ("GroupNormalization", 18, "x x x", {"num_groups": 1}, "before opset 21"),
    ("Dropout", 13, "x - x", {}, "training mode"),
]


@pytest.mark.parametrize(("op", "opset", "inputs", "attrs", "word"), REFUSED, ids=lambda value: str(value))
def test_refused_by_name(op: str, opset: int, inputs: str, attrs: dict[str, object], word: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"node '{op}_0' \\({op}-{opset}\\).*{word}"):
        first([node(op, inputs, "y", **attrs)], opset=opset)


@pytest.mark.parametrize(
    ("op", "key"),
    [("Squeeze", "axes"), ("Unsqueeze", "axes"), ("Slice", "starts"), ("Split", "split"), ("ReduceSum", "axes"),
     ("Pad", "pads"), ("TopK", "k"), ("Reshape", "shape")],
)  # fmt: skip
def test_an_attribute_of_another_opset_is_not_ignored(op: str, key: str) -> None:
    with pytest.raises(OnnxImportError, match=f"attribute '{key}' does not exist in opset 17"):
        first([node(op, "x", "y", **{key: 1 if key == "k" else [1]})], opset=17)


def test_dropout_with_its_mask_in_use() -> None:
    with pytest.raises(UnsupportedOpError, match="mask output"):
        importer.read(model([node("Dropout", "x", "y m")], outputs=[port("y"), port("m", None, TensorProto.BOOL)]))


def test_training_mode_by_constant() -> None:
    for value, fine in ((False, True), (True, False)):
        made = model([node("Dropout", "x - t", "y")], tensors={"t": np.array(value)})
        if fine:
            assert importer.read(made).nodes[0].op == "Identity"
            assert not importer.read(made).consts
        else:
            with pytest.raises(UnsupportedOpError, match="training mode"):
                importer.read(made)


def test_an_opset_of_the_future() -> None:
    with pytest.raises(OnnxImportError, match="opset 99"):
        importer.read(model([node("Relu", "x", "y")], opset=99))
