"""Causal convolutions in front of an LSTM, as onnxruntime's quantiser writes them: runs, streams, batches, converted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import StateError
from sums_of_bytes import exact

quantization = pytest.importorskip("onnxruntime.quantization")

SHAPES = {"1d": [3, 4, "T"], "2d": [3, 2, "T", 10]}
SCALES = np.float32([1, 4, 30])
"""Three signals, each of another loudness: a scale that they share would show."""


def x_of(kind: str, T: int, seed: int = 0) -> Any:
    shape = [T if n == "T" else n for n in SHAPES[kind]]
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return x * SCALES.reshape(-1, *[1] * (x.ndim - 1))


def plain(kind: str, stride: int = 1) -> onnx.ModelProto:
    """Pad, Conv, Relu, a Conv that pads along the other axis itself, LSTM."""
    rng, tensors = np.random.default_rng(1), []

    def put(array: Any) -> str:
        tensors.append(numpy_helper.from_array(np.asarray(array), f"c{len(tensors)}"))
        return tensors[-1].name

    def weight(*shape: int) -> str:
        return put(rng.standard_normal(shape).astype(np.float32) * np.float32(0.3))

    if kind == "1d":
        kernel, pads, inner, order, flat = (3,), [0, 0, 2, 0, 0, 0], [0, 0], [2, 0, 1], 6
        steps = [stride]
    else:
        kernel, pads, inner, order, flat = (3, 3), [0, 0, 2, 0, 0, 0, 0, 0], [0, 1, 0, 1], [2, 0, 1, 3], 60
        steps = [stride, 1]
    channels = SHAPES[kind][1]
    nodes = [
        helper.make_node("Pad", ["x", put(np.array(pads))], ["p"]),
        helper.make_node("Conv", ["p", weight(5, channels, *kernel), weight(5)], ["a"], pads=inner, strides=steps),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Pad", ["r", put(np.array(pads))], ["p2"]),
        helper.make_node("Conv", ["p2", weight(6, 5, *kernel), weight(6)], ["b"], pads=inner),
        helper.make_node("Transpose", ["b"], ["t"], perm=order),
        helper.make_node("Reshape", ["t", put(np.array([0, 0, flat]))], ["f"]),
        helper.make_node("LSTM", ["f", weight(1, 16, flat), weight(1, 16, 4)], ["l"], hidden_size=4),
        helper.make_node("Squeeze", ["l", put(np.array([1]))], ["y"]),
    ]
    ports = [["B", *SHAPES[kind][1:]], ["S", "B", 4]]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", ports, strict=True)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("convolutions")


def written(folder: Path, kind: str, how: str, weights: str, stride: int = 1) -> Path:
    name = folder / f"{kind}_{how}_{weights}_{stride}.onnx"
    if name.exists():
        return name
    source, q = folder / f"{kind}_{stride}.onnx", quantization
    onnx.save(plain(kind, stride), source)
    logging.disable(logging.WARNING)
    if how == "dynamic":
        q.quantize_dynamic(source, name, weight_type=getattr(q.QuantType, weights), op_types_to_quantize=["Conv"])
    else:

        class Reader(q.CalibrationDataReader):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                self.left = [{"x": x_of(kind, 8, seed)} for seed in range(2)]

            def get_next(self) -> Any:
                return self.left.pop() if self.left else None

        q.quantize_static(
            source, name, Reader(), quant_format=getattr(q.QuantFormat, how), activation_type=q.QuantType.QUInt8,
            weight_type=getattr(q.QuantType, weights),
            op_types_to_quantize=["Conv", "Pad", "Relu"], per_channel=weights == "QInt8",
        )  # fmt: skip
    logging.disable(logging.NOTSET)
    return name


def reference(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = exact(path, options)
    return lambda x: session.run(None, {"x": x})[0]


CASES = [
    (kind, how, weights)
    for kind in SHAPES
    for how in ("dynamic", "QOperator", "QDQ")
    for weights in ("QInt8", "QUInt8")
]
every_case = pytest.mark.parametrize(("kind", "how", "weights"), CASES)


@every_case
def test_runs(kind: str, how: str, weights: str, folder: Path) -> None:
    path = written(folder, kind, how, weights)
    model, want = lstm_infer.load(path), reference(path)
    ops = {node.op_type for node in onnx.load(path).graph.node}
    assert {"dynamic": "ConvInteger", "QOperator": "QLinearConv", "QDQ": "QuantizeLinear"}[how] in ops
    for T in (1, 7, 40):
        for x in (x_of(kind, T), x_of(kind, T)[:1]):
            np.testing.assert_allclose(model.run({"x": x})["y"], want(x), rtol=1e-4, atol=2e-5)


@every_case
@pytest.mark.parametrize("stride", [1, 2])
def test_streams(kind: str, how: str, weights: str, stride: int, folder: Path) -> None:
    model = lstm_infer.load(written(folder, kind, how, weights, stride))
    x = x_of(kind, 17)
    whole = model.stream(batch=3).run(x)
    other = model.stream(batch=3)
    pieces = [other.run(x[:, :, a:b]) for a, b in ((0, 1), (1, 6), (6, 7), (7, 17))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    for i in range(3):
        np.testing.assert_array_equal(model.stream().run(x[i : i + 1]), whole[:, i : i + 1])
    if how != "dynamic":
        np.testing.assert_array_equal(whole, model.run({"x": x})["y"][: len(whole)])


@pytest.mark.parametrize("kind", SHAPES)
def test_a_step_is_quantised_by_what_it_sees(kind: str, folder: Path) -> None:
    """Both convolutions see three frames: what onnxruntime makes of those alone, one behind the other, is what a stream gives."""
    path = written(folder, kind, "dynamic", "QUInt8")
    model = lstm_infer.load(path)
    assert sum(node.op == "DynamicQuantizeConv" for node in model._graph.nodes) == 2

    def part(begin: str, end: str) -> Any:
        found = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(path))).extract_model([begin], [end])
        onnx.save(found, folder / "part.onnx")
        session = exact(folder / "part.onnx", ort.SessionOptions())
        return lambda x: session.run(None, {begin: x})[0]

    def windows(x: Any) -> Any:
        x = np.concatenate([np.zeros_like(x[:, :, :2]), x], 2)
        return [x[:, :, t : t + 3] for t in range(x.shape[2] - 2)]

    x = x_of(kind, 9)[:1]
    first, second, last = part("p", "r"), part("p2", "b"), part("t", "y")
    seen = np.concatenate([first(x) for x in windows(x)], 2)
    seen = np.concatenate([second(x) for x in windows(seen)], 2)
    want = last(np.moveaxis(seen, 2, 0))
    np.testing.assert_allclose(model.stream().run(x), want, rtol=1e-4, atol=2e-5)


def test_a_scale_that_is_an_output_is_not_shared(folder: Path) -> None:
    """What DynamicQuantizeLinear gives to others than a product has one scale: a stream of several signals would share it."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["f"]),
        helper.make_node("RNN", ["f", "w", "r"], ["y"], hidden_size=2),
    ]
    ports = [("x", ["T", "B", 4]), ("y", ["T", 1, "B", 2])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ports]
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((1, 2, 4)), "r": rng.standard_normal((1, 2, 2))}
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = lstm_infer.load(made.SerializeToString())
    with pytest.raises(StateError, match="brings the signals of a batch together; make 3 streams"):
        model.stream(batch=3)
    assert "pool: one signal at a time" in model.summary()
    x = np.random.default_rng(1).standard_normal((6, 3, 4)).astype(np.float32) * SCALES[:, None]
    with model.pool() as pool:
        ids = [pool.open() for _ in range(3)]
        got = [pool.step({i: x[t, k : k + 1] for k, i in enumerate(ids)}) for t in range(6)]
    for k, i in enumerate(ids):
        want = model.stream().run(x[:, k : k + 1])
        np.testing.assert_array_equal(np.ravel([one[i] for one in got]), want.ravel())


@every_case
def test_is_converted(kind: str, how: str, weights: str, folder: Path, tmp_path: Path) -> None:
    model = lstm_infer.load(written(folder, kind, how, weights))
    lstm_infer.convert(model, tmp_path / "m.lsi")
    x = x_of(kind, 9)[:1]
    np.testing.assert_array_equal(lstm_infer.load(tmp_path / "m.lsi").stream().run(x), model.stream().run(x))
    lstm_infer.convert(model, tmp_path / "stateful.onnx", batch=1)
