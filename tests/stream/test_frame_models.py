"""Frame models whose states are graph inputs, and whose recurrences run over the frequencies of one frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import shared_files


def test_gtcrn_streams_as_onnxruntime_does_by_hand() -> None:
    path = shared_files.model("gtcrn_stream_simple")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    caches = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()[1:]}
    stream = lstm_infer.load(path).stream()
    rng = np.random.default_rng(0)
    for _ in range(20):
        frame = rng.normal(size=(1, 257, 1, 2)).astype(np.float32)
        want, *after = session.run(None, {names[0]: frame, **caches})
        caches = dict(zip(caches, after, strict=True))
        np.testing.assert_allclose(stream.step(frame), want, rtol=1e-4, atol=1e-5)
    for name, value in stream.state.items():
        np.testing.assert_allclose(value, caches[name], rtol=1e-4, atol=1e-5)


def bands(fed: str):
    """x [1, 8 bands, 3] -> both ways over the bands -> their mean -> GRU with its state fed and given out. `fed`: where h
    enters: the GRU, or the recurrence over the bands as well."""
    rng = np.random.default_rng(3)
    held = {
        "BW": rng.normal(0, 0.5, (2, 12, 3)), "BR": rng.normal(0, 0.5, (2, 12, 4)), "W": rng.normal(0, 0.5, (1, 15, 8)),
        "R": rng.normal(0, 0.5, (1, 15, 5)), "P": rng.normal(0, 0.5, (5, 8)), "shape": np.array([2, 1, 4]),
        "rows": np.array([8, 1, 8]), "zero": np.array([0]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("MatMul", ["h", "P"], ["p"]),
        node("Reshape", ["p", "shape"], ["first"]),
        node("GRU", ["xt", "BW", "BR", "", "", "first" if fed == "both" else ""], ["both"], "bands", hidden_size=4,
             direction="bidirectional"),
        node("Transpose", ["both"], ["apart"], perm=[0, 2, 1, 3]),
        node("Reshape", ["apart", "rows"], ["s"]),
        node("ReduceMean", ["s"], ["m"], axes=[0], keepdims=1),
        node("GRU", ["m", "W", "R", "", "", "h"], ["Y", "hn"], "frames", hidden_size=5),
        node("Squeeze", ["Y", "zero"], ["y"]),
    ]  # fmt: skip
    consts = [
        numpy_helper.from_array(a.astype(np.int64 if a.dtype.kind == "i" else np.float32), k) for k, a in held.items()
    ]
    ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in (("x", [1, 8, 3]), ("h", [1, 1, 5]))]
    outs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in ("y", "hn")]
    graph = helper.make_graph(nodes, "bands", ports, outs, consts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_what_runs_both_ways_over_the_bands_of_a_frame_runs_inside_it() -> None:
    """The state that is fed and given out belongs to calls, so the bands are not time, whatever runs over them."""
    data = bands("frames")
    model, session = lstm_infer.load(data), ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert dict(model.streaming.pairs) == {"h": "hn"} and model.streaming.mode == "frame"
    assert [port.time_axis for port in model.inputs] == [None, None]
    rng, stream, h = np.random.default_rng(1), model.stream(), np.zeros((1, 1, 5), np.float32)
    for _ in range(5):
        x = rng.normal(0, 1, (1, 8, 3)).astype(np.float32)
        want, h = session.run(["y", "hn"], {"x": x, "h": h})
        np.testing.assert_allclose(stream.step(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"time_axis": {"x": 1}}])
def test_a_state_of_what_runs_both_ways_makes_no_frames(options: dict[str, Any]) -> None:
    """Nor are there any where the caller says that the bands are time."""
    data = bands("both" if not options else "frames")
    with pytest.raises(lstm_infer.NotStreamableError):
        lstm_infer.load(data, **options).stream()


def test_a_model_that_is_fed_nothing_but_its_state_makes_a_step() -> None:
    weights = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["h", "W"], ["s"]), helper.make_node("Tanh", ["s"], ["h_next"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("h", "h_next")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(weights, "W")])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session, h = ort.InferenceSession(file.SerializeToString()), np.ones((1, 4), np.float32)
    stream = lstm_infer.load(file, states={"h": "h_next"}).stream(initial={"h": h})
    for call in (stream.step, stream.run, stream.step):
        (h,) = session.run(None, {"h": h})
        np.testing.assert_allclose(call({})["h_next"].reshape(-1, 4), h, rtol=1e-5, atol=1e-6)
