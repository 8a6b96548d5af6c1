"""Files of onnxruntime's own quantiser, as it writes them and optimised at every level, against onnxruntime."""

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
from sums_of_bytes import exact

quantization = pytest.importorskip("onnxruntime.quantization")
QuantFormat, QuantType = quantization.QuantFormat, quantization.QuantType

STEP = 0.006
"""A few sums lie halfway between two steps of 8 bits, where their order decides: one step of the softmax is 1 / 256."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x [B, 1, T, 16]: convolutions, pools, a gate, Resize and Concat, then LSTM, GRU, MatMul and Softmax."""
    rng = np.random.default_rng(0)
    tensors: list[onnx.TensorProto] = []

    def put(array: Any) -> str:
        tensors.append(numpy_helper.from_array(np.asarray(array), f"c{len(tensors)}"))
        return tensors[-1].name

    def const(*shape: int) -> str:
        return put((rng.standard_normal(shape) * 0.3).astype(np.float32))

    def make(op: str, ins: list[str], out: str, **attrs: Any) -> onnx.NodeProto:
        return helper.make_node(op, ins, [out], name=f"{op}_{out}", **attrs)

    one = put(np.array([1]))
    nodes = [
        make("Conv", ["x", const(8, 1, 3, 3), const(8)], "conv", pads=[1, 1, 1, 1]),
        make("Relu", ["conv"], "relu"),
        make("MaxPool", ["relu"], "half", kernel_shape=[1, 2], strides=[1, 2]),
        make("Conv", ["half", const(8, 8, 3, 3), const(8)], "conv2", pads=[1, 1, 1, 1]),
        make("LeakyRelu", ["conv2"], "leaky", alpha=0.1),
        make("Add", ["half", "leaky"], "sum"),
        make("Resize", ["sum", "", put(np.array([1, 1, 1, 2], np.float32))], "wide", mode="nearest"),
        make("AveragePool", ["wide"], "mean", kernel_shape=[1, 2], strides=[1, 2]),
        make("Concat", ["mean", "half"], "both", axis=1),
        make("GlobalAveragePool", ["both"], "level"),
        make("Sigmoid", ["level"], "gate"),
        make("Mul", ["both", "gate"], "gated"),
        make("Transpose", ["gated"], "time", perm=[2, 0, 1, 3]),
        make("Reshape", ["time", put(np.array([0, 0, -1]))], "seq"),
        make("LSTM", ["seq", const(1, 48, 128), const(1, 48, 12)], "l", hidden_size=12),
        make("Squeeze", ["l", one], "l2"),
        make("GRU", ["l2", const(1, 30, 12), const(1, 30, 10)], "g", hidden_size=10),
        make("Squeeze", ["g", one], "g2"),
        make("MatMul", ["g2", const(10, 7)], "m"),
        make("Softmax", ["m"], "y", axis=-1),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["B", 1, "T", 16]), ("y", None)))
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    path = tmp_path_factory.mktemp("quantised") / "plain.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    logging.getLogger().setLevel(logging.ERROR)
    return path


FEEDS = [{"x": np.random.default_rng(seed).standard_normal((1, 1, 12, 16)).astype(np.float32)} for seed in range(3)]


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.rest = iter(FEEDS)

    def get_next(self) -> Any:
        return next(self.rest, None)


def check(path: Path, level: str, folder: Path) -> None:
    """The file, optimised at a level, gives what onnxruntime gives for it."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    want = exact(path, options).run(None, FEEDS[0])[0]
    if any(node.domain == "com.microsoft.nchwc" for node in onnx.load(folder / "optimised.onnx").graph.node):
        pytest.skip("what stays in float is laid out for this machine")
    got = lstm_infer.load(folder / "optimised.onnx").run(FEEDS[0])["y"]
    np.testing.assert_allclose(got, want, rtol=0, atol=STEP)


LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
TYPES = [("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QInt16", "QInt8"), ("QUInt16", "QUInt8")]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kinds", TYPES)
@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_static(plain: Path, form: str, kinds: tuple[str, str], per_channel: bool, level: str, tmp_path: Path) -> None:
    if form == "QOperator" and "16" in kinds[0]:
        pytest.skip("16 bits are QDQ only")
    if level == "ORT_ENABLE_ALL" and "16" in kinds[0]:
        pytest.skip("what stays in float is laid out for one machine")
    activations, weights = (getattr(QuantType, kind) for kind in kinds)
    quantization.quantize_static(
        plain,
        tmp_path / "q.onnx",
        Reader(),
        quant_format=getattr(QuantFormat, form),
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
        reduce_range=per_channel,
    )
    check(tmp_path / "q.onnx", level, tmp_path)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_dynamic(plain: Path, kind: str, per_channel: bool, level: str, tmp_path: Path) -> None:
    quantization.quantize_dynamic(
        plain, tmp_path / "q.onnx", per_channel=per_channel, weight_type=getattr(QuantType, kind)
    )
    check(tmp_path / "q.onnx", level, tmp_path)
