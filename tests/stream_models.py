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


def wide(seed=0):
    """x [T, B, 24] -> y [T, B, 144]: an LSTM and a product with enough weights for 8 bits."""
    rng = np.random.default_rng(seed)
    weights = {"W": _weights(rng, 1, 128, 24), "R": _weights(rng, 1, 128, 32), "D": _weights(rng, 32, 144),
               "one": np.array([1], np.int64)}  # fmt: skip
    nodes = [helper.make_node("LSTM", ["x", "W", "R"], ["Y"], name="rec", hidden_size=32), *_HEAD]
    return _finish(nodes, [("x", FLOAT, ["T", "B", 24])], [("y", FLOAT, ["T", "B", 144])], weights)


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


def padded_in_front(seed=0):
    """x [B, T, I] -> y [B, T, C]: a causal Conv1d as Keras converters write it, the Pad behind two moves of axes."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
        helper.make_node("Unsqueeze", ["p", "one"], ["u"]),
        helper.make_node("Transpose", ["u"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "K"], ["k"], kernel_shape=[1, 3], name="conv"),
        helper.make_node("Squeeze", ["k", "two"], ["s"]),
        helper.make_node("Transpose", ["s"], ["seq_first"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["seq_first", "W", "R", "B"], ["Y"], name="rec", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["seq"]),
        helper.make_node("MatMul", ["seq", "D"], ["logits"]),
        helper.make_node("Transpose", ["logits"], ["y"], perm=[1, 0, 2]),
    ]
    weights = _lstm_weights(seed) | {"K": _weights(rng, INPUTS, INPUTS, 1, 3), "two": np.array([2], np.int64),
                                     "pads": np.array([0, 2, 0, 0, 0, 0], np.int64)}  # fmt: skip
    return _finish(nodes, [("x", FLOAT, ["B", "T", INPUTS])], [("y", FLOAT, ["B", "T", CLASSES])], weights)


def switched(seed=0, wider=1):
    """x [T, B, I], h0, c0, which -> y, hn, cn: a scalar input chooses one of two LSTMs, which may take more features."""

    def branch(name, weights):
        node = helper.make_node("LSTM", ["x", weights, "R", "B", "", "h0", "c0"],
                                [f"Y{name}", f"h{name}", f"c{name}"], name=name, hidden_size=HIDDEN)  # fmt: skip
        outs = [helper.make_tensor_value_info(n, FLOAT, None) for n in node.output]
        return helper.make_graph([node], name, [], outs)

    choice = helper.make_node("If", ["is_one"], ["Y", "hn", "cn"], name="choice",
                              then_branch=branch("a", "W"), else_branch=branch("b", "W2"))  # fmt: skip
    equal = helper.make_node("Equal", ["which", "rate"], ["is_one"])
    weights = _lstm_weights(seed) | {"rate": np.array(1, np.int64)}
    weights["W2"] = np.concatenate([_lstm_weights(seed + 1)["W"]] * wider, 2)
    state = [1, "B", HIDDEN]
    return _finish(
        [equal, choice, *_HEAD],
        [
            ("x", FLOAT, ["T", "B", INPUTS if wider == 1 else None]),
            ("h0", FLOAT, state),
            ("c0", FLOAT, state),
            ("which", TensorProto.INT64, []),
        ],
        [("y", FLOAT, ["T", "B", CLASSES]), ("hn", FLOAT, state), ("cn", FLOAT, state)],
        weights,
    )


def switched_sizes(seed=0):
    """x [T, B, ?], which -> y: as `switched`, and the other LSTM takes twice as many features."""
    weights = _lstm_weights(seed)

    def branch(name, w):
        node = helper.make_node("LSTM", ["x", w, "R", "B"], [f"Y{name}"], name=name, hidden_size=HIDDEN)
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(f"Y{name}", FLOAT, None)])

    choice = helper.make_node("If", ["is_one"], ["Y"], name="choice",
                              then_branch=branch("a", "W"), else_branch=branch("b", "W2"))  # fmt: skip
    equal = helper.make_node("Equal", ["which", "rate"], ["is_one"])
    weights |= {"W2": np.concatenate([weights["W"]] * 2, 2), "rate": np.array(1, np.int64)}
    ports = [("x", FLOAT, ["T", "B", None]), ("which", TensorProto.INT64, [])]
    return _finish([equal, choice, *_HEAD], ports, [("y", FLOAT, ["T", "B", CLASSES])], weights)


def cascade(seed=0):
    """src [S, B, I], tgt [T, B, I] -> y [T, B, C]: the last state of one LSTM starts another, over another time axis."""
    one = helper.make_node("LSTM", ["src", "W", "R", "B"], ["", "h", "c"], name="enc", hidden_size=HIDDEN)
    two = helper.make_node("LSTM", ["tgt", "W", "R", "B", "", "h", "c"], ["Y"], name="dec", hidden_size=HIDDEN)
    ports = [("src", FLOAT, ["S", "B", INPUTS]), ("tgt", FLOAT, ["T", "B", INPUTS])]
    weights = _lstm_weights(seed) | {"D": _weights(np.random.default_rng(seed), HIDDEN, INPUTS)}
    return _finish([one, two, *_HEAD], ports, [("y", FLOAT, ["T", "B", INPUTS])], weights)


def bands(seed=0):
    """x [1, I], cache [1, 9, I] -> y [1, I], cache_out: a GRU-like pass over nine bands of a frame, which are no time."""
    nodes = [
        helper.make_node("Transpose", ["cache"], ["seq"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["seq", "W", "R", "B"], ["Y"], name="over_bands", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["ys"]),
        helper.make_node("MatMul", ["ys", "D"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "M"], ["told"]),
        helper.make_node("Add", ["x", "told"], ["y"]),
        helper.make_node("Slice", ["cache", "one", "nine", "one"], ["kept"]),
        helper.make_node("Unsqueeze", ["y", "one"], ["newest"]),
        helper.make_node("Concat", ["kept", "newest"], ["cache_out"], axis=1),
    ]
    rng = np.random.default_rng(seed)
    weights = _lstm_weights(seed) | {"M": _weights(rng, 9 * CLASSES, INPUTS) / 9, "nine": np.array([9], np.int64),
                                     "flat": np.array([1, 9 * CLASSES], np.int64)}  # fmt: skip
    ports = [("x", FLOAT, [1, INPUTS]), ("cache", FLOAT, [1, 9, INPUTS])]
    return _finish(nodes, ports, [("y", FLOAT, [1, INPUTS]), ("cache_out", FLOAT, [1, 9, INPUTS])], weights)


def residual_beside(seed=0):
    """x [T, B, I], speaker [B, I] -> y [T, B, I]: y = x + LSTM(x) + speaker. x reaches y by a sum and is no state."""
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["Y"], name="rec", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["seq"]),
        helper.make_node("MatMul", ["seq", "D"], ["told"]),
        helper.make_node("Add", ["x", "told"], ["sum"]),
        helper.make_node("Add", ["sum", "speaker"], ["y"]),
    ]
    weights = _lstm_weights(seed) | {"D": _weights(np.random.default_rng(seed), HIDDEN, INPUTS)}
    ports = [("x", FLOAT, ["T", "B", INPUTS]), ("speaker", FLOAT, ["B", INPUTS])]
    return _finish(nodes, ports, [("y", FLOAT, ["T", "B", INPUTS])], weights)


def gated(seed=0):
    """x, on [T, B, I] -> y [T, B, C], off: what is switched off by a boolean is zero, and a boolean comes out."""
    nodes = [
        helper.make_node("Where", ["on", "x", "none"], ["kept"]),
        helper.make_node("LSTM", ["kept", "W", "R", "B"], ["Y"], name="rec", hidden_size=HIDDEN), *_HEAD,
        helper.make_node("Not", ["on"], ["off"]),
    ]  # fmt: skip
    shape = ["T", "B", INPUTS]
    return _finish(
        nodes, [("x", FLOAT, shape), ("on", TensorProto.BOOL, shape)],
        [("y", FLOAT, ["T", "B", CLASSES]), ("off", TensorProto.BOOL, shape)],
        {**_lstm_weights(seed), "none": np.zeros(INPUTS, np.float32)},
    )  # fmt: skip


def sized(seed=5):
    """x [1, N], h, c -> y, hn, cn: a frame model that leaves the size of a frame open: its mean goes through a recurrence."""
    rng = np.random.default_rng(seed)
    consts = {"W": rng.normal(size=(1, 16, 1)), "R": rng.normal(size=(1, 16, 4))}
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["m", "at"], ["s"]),
        helper.make_node("LSTM", ["s", "W", "R", "", "", "h", "c"], ["", "hn", "cn"], hidden_size=4),
        helper.make_node("Add", ["hn", "s"], ["y"]),
    ]
    state = [1, 1, 4]
    return _finish(
        nodes, [("x", FLOAT, [1, "N"]), ("h", FLOAT, state), ("c", FLOAT, state)],
        [(name, FLOAT, state) for name in ("y", "hn", "cn")],
        {**{name: value.astype(np.float32) for name, value in consts.items()}, "at": np.array([0], np.int64)},
    )  # fmt: skip
