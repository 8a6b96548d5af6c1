"""Models that look ahead: nothing is skipped while a part of the graph has no step yet, or none is left."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances


def model(pads):
    """x [T, B, 3] -> LSTM (outputs and inputs left out in the middle) -> Conv -> RNN from a first state; and x -> RNN."""
    rng = np.random.default_rng(3)
    shapes = {"W1": (1, 16, 3), "R1": (1, 16, 4), "K": (2, 4, 3), "W2": (1, 4, 2), "W3": (1, 4, 3), "R2": (1, 4, 4)}
    consts = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    consts |= {"one": np.array([1]), "h": rng.normal(0, 1, (1, 1, 4)).astype(np.float32)}
    make = helper.make_node
    nodes = [
        make("LSTM", ["x", "W1", "R1"], ["", "a", "c"], hidden_size=4),
        make("LSTM", ["x", "W1", "R1"], ["Y", "", "c2"], hidden_size=4),
        make("Squeeze", ["Y", "one"], ["y1"]),
        make("Transpose", ["y1"], ["channels"], perm=[1, 2, 0]),
        make("Conv", ["channels", "K"], ["z"], kernel_shape=[3], pads=pads),
        make("Transpose", ["z"], ["steps"], perm=[2, 0, 1]),
        make("RNN", ["steps", "W2", "R2", "", "", "h"], ["Y2", "end"], hidden_size=4),
        make("RNN", ["x", "W3", "R2", "", "", "h"], ["Y3"], hidden_size=4),
    ]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, 3])]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("Y2", "Y3", "end", "a", "c2")]
    held = [numpy_helper.from_array(array, name) for name, array in consts.items()]
    graph = helper.make_graph(nodes, "ahead", ports, outs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(made.SerializeToString())


@pytest.mark.filterwarnings("ignore:the file has .* of its example frozen in")
@pytest.mark.parametrize("pads", [[1, 1], [0, 2], [2, 2], [0, 0], [2, 1]])
@pytest.mark.parametrize("cuts", [[0, 12], list(range(13)), [0, 1, 2, 9, 12]])
def test_pieces_and_the_tail_equal_the_whole(pads, cuts):
    ahead = model(pads)
    x = np.random.default_rng(4).normal(0, 1, (12, 1, 3)).astype(np.float32)
    stream = ahead.stream()
    parts = [stream.run(x[a:b]) for a, b in pairwise(cuts)] + [stream.flush()]
    for name, value in ahead.run({"x": x}).items():
        there = [part[name] for part in parts if part[name] is not None]
        got = np.concatenate(there) if name.startswith("Y") else there[-1]
        tolerances.exact(got, value, f"{name}, pads {pads}, cut at {cuts}")


def test_a_flushed_signal_is_flushed_in_its_snapshot():
    ahead = model([1, 1])
    x = np.random.default_rng(4).normal(0, 1, (5, 1, 3)).astype(np.float32)
    stream, other = ahead.stream(), model([1, 1]).stream()  # of another load, which knows no such snapshot
    stream.run(x)
    stream.flush()
    other.restore(stream.snapshot())
    with pytest.raises(lstm_infer.StateError, match="was flushed"):
        other.run(x)
    other.reset()
    stream.reset()
    tolerances.exact(other.run(x)["Y2"], stream.run(x)["Y2"], "behind a reset")


def test_a_signal_ends_once():
    stream = model([1, 1]).stream()
    stream.run(np.ones((5, 1, 3), np.float32))
    stream.flush()
    with pytest.raises(lstm_infer.StateError, match=r"was flushed, which ended its signal; reset\(\) begins a new one"):
        stream.flush()


@pytest.mark.parametrize("counted", ["x", "z"])
def test_a_loop_behind_a_convolution_that_looks_ahead(counted):
    """for t in range(len(x)), or of what the Conv gives: a stream has fewer steps of that than it was fed."""
    rng, make, info = np.random.default_rng(6), helper.make_node, helper.make_tensor_value_info
    consts = {"go": np.array(True), "i0": np.array(0), "h0": np.zeros((1, 4), np.float32)}
    for name, shape in {"K": (4, 3, 3), "W": (4, 4), "R": (4, 4)}.items():
        consts[name] = rng.normal(0, 0.4, shape).astype(np.float32)
    body = [make("Gather", ["z", "t"], ["row"]), make("MatMul", ["row", "W"], ["a"]), make("MatMul", ["h", "R"], ["b"]),
            make("Add", ["a", "b"], ["s"]), make("Tanh", ["s"], ["next"]), make("Identity", ["c"], ["again"])]  # fmt: skip
    ins = [info("t", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("h", TensorProto.FLOAT, [None, 4])]
    outs = [info("again", TensorProto.BOOL, []), *[info("next", TensorProto.FLOAT, [None, 4])] * 2]
    nodes = [
        make("Transpose", ["x"], ["channels"], perm=[1, 2, 0]),
        make("Conv", ["channels", "K"], ["slid"], kernel_shape=[3], pads=[1, 1]),
        make("Transpose", ["slid"], ["z"], perm=[2, 0, 1]),
        make("Shape", [counted], ["shape"]),
        make("Gather", ["shape", "i0"], ["n"]),
        make("Loop", ["n", "go", "h0"], ["last", "y"], body=helper.make_graph(body, "body", ins, outs)),
    ]
    held = [numpy_helper.from_array(array, name) for name, array in consts.items()]
    ports = [info("x", TensorProto.FLOAT, ["T", 1, 3]), info("y", TensorProto.FLOAT, ["T", 1, 4])]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = rng.normal(0, 1, (9, 1, 3)).astype(np.float32)
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    stream = lstm_infer.load(made).stream()
    assert stream.lag == 1
    parts = [stream.run(x[:1]), stream.run(x[1:4]), stream.run(x[4:]), stream.flush()]
    tolerances.like_onnxruntime(np.concatenate(parts), want)
