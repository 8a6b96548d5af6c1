"""Files that onnxruntime has optimised and saved run as the files they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import lstm_infer
from engine import ENGINE

pytestmark = pytest.mark.skipif(ENGINE == "onnxruntime", reason="about this package")
LEVELS = onnxruntime.GraphOptimizationLevel


def network(path: Path, channels: int) -> None:
    """Conv, Relu, Conv, LeakyRelu, LSTM, LayerNormalization and attention-like products over [1, 4, T]."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (channels, 4, 1, 3), "b1": (channels,), "w2": (channels, channels, 1, 3), "lw": (1, 32, channels),
              "lr": (1, 32, 8), "g": (8,), "b": (8,), "m": (8, 12), "mb": (12,), "m2": (12, 8)}  # fmt: skip
    inits = [numpy_helper.from_array((rng.standard_normal(s) * 0.3).astype(np.float32), n) for n, s in shapes.items()]
    inits += [numpy_helper.from_array(np.array(v), n) for n, v in (("two", [2]), ("one", [1]))]
    nodes = [
        helper.make_node(op, ins.split(), [out], name=out, **attrs)
        for op, ins, out, attrs in (
            ("Unsqueeze", "x two", "x4", {}),
            ("Conv", "x4 w1 b1", "c1", {"pads": [0, 1, 0, 1]}),
            ("Relu", "c1", "r1", {}),
            ("Conv", "r1 w2", "c2", {"pads": [0, 1, 0, 1]}),
            ("LeakyRelu", "c2", "r2", {"alpha": 0.2}),
            ("Squeeze", "r2 two", "r3", {}),
            ("Transpose", "r3", "t", {"perm": [2, 0, 1]}),
            ("LSTM", "t lw lr", "ly", {"hidden_size": 8}),
            ("Squeeze", "ly one", "l", {}),
            ("Add", "l l", "s", {}),
            ("LayerNormalization", "s g b", "n", {}),
            ("MatMul", "n m", "p", {}),
            ("Add", "p mb", "q", {}),
            ("Gelu", "q", "u", {}),
            ("MatMul", "u m2", "v", {}),
            ("Transpose", "v", "vt", {"perm": [0, 2, 1]}),
            ("MatMul", "v vt", "a", {}),
            ("Softmax", "a", "y", {}),
        )
    ]
    ports = [helper.make_tensor_value_info("x", 1, [1, 4, "T"])], [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph(nodes, "g", *ports, inits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def optimised(source: Path, level: LEVELS) -> Path:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(source.with_suffix(".saved.onnx"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return source.with_suffix(".saved.onnx")


@pytest.mark.parametrize("level", [LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED])
def test_basic_and_extended(tmp_path: Path, level: LEVELS) -> None:
    network(tmp_path / "a.onnx", 5)
    saved = optimised(tmp_path / "a.onnx", level)
    x = {"x": np.random.default_rng(1).standard_normal((1, 4, 9)).astype(np.float32)}
    (want,) = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, x)
    np.testing.assert_allclose(lstm_infer.load(saved).run(x)["y"], want, rtol=1e-4, atol=1e-5)


def test_a_layout_of_the_machine_is_refused_with_what_to_do(tmp_path: Path) -> None:
    network(tmp_path / "a.onnx", 16)
    saved = optimised(tmp_path / "a.onnx", LEVELS.ORT_ENABLE_ALL)
    if not any(node.domain == "com.microsoft.nchwc" for node in onnx.load(saved).graph.node):
        pytest.skip("onnxruntime uses no such layout on this machine")
    with pytest.raises(lstm_infer.LstmInferError, match="ORT_ENABLE_EXTENDED"):
        lstm_infer.load(saved)
