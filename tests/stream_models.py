"""Small streaming models for tests/stream: built here, random weights from a fixed seed."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

INPUTS, HIDDEN, CLASSES = 5, 19, 3


def _weights(rng, *shape):
    return rng.uniform(-0.6, 0.6, shape).astype(np.float32)


def _finish(nodes, inputs, outputs, weights, opset=17):
    def info(name, dtype, shape):
        return helper.make_tensor_value_info(name, dtype, shape)

    graph = helper.make_graph(
        nodes,
        "g",
        [info(*port) for port in inputs],
        [info(*port) for port in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


def _lstm_weights(seed=0, inputs=INPUTS):
    rng = np.random.default_rng(seed)
    return {"W": _weights(rng, 1, 4 * HIDDEN, inputs), "R": _weights(rng, 1, 4 * HIDDEN, HIDDEN),
            "B": _weights(rng, 1, 8 * HIDDEN), "D": _weights(rng, HIDDEN, CLASSES),
            "one": np.array([1], np.int64)}  # fmt: skip


FLOAT = TensorProto.FLOAT
_HEAD = [helper.make_node("Squeeze", ["Y", "one"], ["seq"]), helper.make_node("MatMul", ["seq", "D"], ["y"])]


def hidden_state(seed=0):
    """x [T, B, I] -> y [T, B, C]; the LSTM starts at zero and its state is nowhere in the graph's ports."""
    nodes = [helper.make_node("LSTM", ["x", "W", "R", "B"], ["Y"], name="rec", hidden_size=HIDDEN), *_HEAD]
    return _finish(
        nodes, [("x", FLOAT, ["T", "B", INPUTS])], [("y", FLOAT, ["T", "B", CLASSES])], _lstm_weights(seed)
    )  # fmt: skip


def state_io(seed=0):
    """x, h0, c0 -> y, hn, cn."""
    node = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["Y", "hn", "cn"], name="rec", hidden_size=HIDDEN
    )
    state = [1, "B", HIDDEN]
    return _finish(
        [node, *_HEAD],
        [("x", FLOAT, ["T", "B", INPUTS]), ("h0", FLOAT, state), ("c0", FLOAT, state)],
        [("y", FLOAT, ["T", "B", CLASSES]), ("hn", FLOAT, state), ("cn", FLOAT, state)],
        _lstm_weights(seed),
    )


def last_step(seed=0):
    """x -> y [B, C] from the last step only."""
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "Yh"], name="rec", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Yh", "zero"], ["last"]),
        helper.make_node("MatMul", ["last", "D"], ["y"]),
    ]
    weights = _lstm_weights(seed) | {"zero": np.array([0], np.int64)}
    del weights["one"]
    return _finish(nodes, [("x", FLOAT, ["T", "B", INPUTS])], [("y", FLOAT, ["B", CLASSES])], weights)


def centred_conv(seed=0, stride=1):
    """x [B, I, T] through a Conv of width 5 that looks two steps ahead, then the LSTM: a lag of two."""
    weights = _lstm_weights(seed, 6)
    weights["K"] = _weights(np.random.default_rng(seed + 1), 6, INPUTS, 5)
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["conv"], name="conv", pads=[2, 2], strides=[stride], kernel_shape=[5]),
        helper.make_node("Transpose", ["conv"], ["tbi"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["tbi", "W", "R", "B"], ["Y"], name="rec", hidden_size=HIDDEN),
        *_HEAD,
    ]
    return _finish(nodes, [("x", FLOAT, ["B", INPUTS, "T"])], [("y", FLOAT, ["U", "B", CLASSES])], weights)


def frame(seed=0):
    """x [B, I], h [B, I] -> y, h_next: an exponential average written by hand, no time axis at all."""
    nodes = [
        helper.make_node("Mul", ["h", "keep"], ["old"]),
        helper.make_node("Add", ["old", "x"], ["h_next"]),
        helper.make_node("Tanh", ["h_next"], ["y"]),
    ]
    port = [FLOAT, ["B", INPUTS]]
    return _finish(
        nodes, [("x", *port), ("h", *port)], [("y", *port), ("h_next", *port)], {"keep": np.float32([0.75])}
    )  # fmt: skip


def stateless(seed=0):
    """x [B, I] -> y: nothing to carry."""
    port = [FLOAT, ["B", INPUTS]]
    return _finish([helper.make_node("Tanh", ["x"], ["y"], name="act")], [("x", *port)], [("y", *port)], {})


def both_ways(seed=0):
    """A bidirectional LSTM."""
    rng = np.random.default_rng(seed)
    weights = {"W": _weights(rng, 2, 4 * HIDDEN, INPUTS), "R": _weights(rng, 2, 4 * HIDDEN, HIDDEN)}
    node = helper.make_node("LSTM", ["x", "W", "R"], ["y"], name="rec", hidden_size=HIDDEN, direction="bidirectional")
    return _finish(
        [node], [("x", FLOAT, ["T", "B", INPUTS])], [("y", FLOAT, ["T", 2, "B", HIDDEN])], weights
    )  # fmt: skip
