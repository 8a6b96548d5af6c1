"""One small net, and what is around such nets in real files: two ports, a head that counts, another layout.

Each has its states as inputs and outputs, so that onnxruntime can be stepped beside us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["HIDDEN", "INPUTS", "NETS", "Net"]

INPUTS, HIDDEN = 16, 16
OPSET, IR_VERSION = 17, 8
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

Ports = Sequence[tuple[str, int, list[Any]]]


@dataclass(frozen=True)
class Net:
    """A model, and how it is asked for."""

    make: Callable[[], bytes]
    batches: tuple[int, ...] = (1,)
    chunk: int = 1
    """Steps a call."""
    behind_conv: bool = False
    """A Conv over time: what it keeps is no port of the graph, so nobody else can step it."""


def _weights() -> dict[str, Any]:
    rng, reach = np.random.default_rng(0), 1 / np.sqrt(HIDDEN)
    shapes = {"W": (1, 4 * HIDDEN, INPUTS), "R": (1, 4 * HIDDEN, HIDDEN), "B": (1, 8 * HIDDEN)}
    drawn = {name: rng.uniform(-reach, reach, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**drawn, "zero": np.array([0], np.int64), "one": np.array([1], np.int64)}


def _model(nodes: Sequence[NodeProto], inputs: Ports, outputs: Ports, more: dict[str, Any] | None = None) -> bytes:
    """A file of these nodes; only the weights that they read go in."""
    read = {name for node in nodes for name in node.input}
    weights = {name: value for name, value in {**_weights(), **(more or {})}.items() if name in read}
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


def gru() -> bytes:
    """The plain net with a GRU."""
    return _other("GRU", 3, linear_before_reset=1)


def rnn() -> bytes:
    """The plain net with an RNN."""
    return _other("RNN", 1)


def _other(op: str, gates: int, **attrs: int) -> bytes:
    rows = gates * HIDDEN
    weights = {
        name: value[:, : rows if name in "WR" else 2 * rows] for name, value in _weights().items() if name in "WRB"
    }
    node = helper.make_node(op, ["x", "W", "R", "B", "", "h"], ["Y", "hn"], name="layer", hidden_size=HIDDEN, **attrs)
    nodes = [node, helper.make_node("Squeeze", ["Y", "one"], ["seq"]), *_head()]
    return _model(nodes, [X, STATES[0]], [Y, NEXT[0]], weights)


def _lstm(x: str) -> list[NodeProto]:
    """x [T, B, I] -> seq [T, B, H], with the states h, c and their next values."""
    return [
        helper.make_node("LSTM", [x, "W", "R", "B", "", "h", "c"], ["Y", "hn", "cn"], name="lstm", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["seq"]),
    ]


STATES = [("h", FLOAT, [1, "B", HIDDEN]), ("c", FLOAT, [1, "B", HIDDEN])]
NEXT = [("hn", FLOAT, [1, "B", HIDDEN]), ("cn", FLOAT, [1, "B", HIDDEN])]
X, Y = ("x", FLOAT, ["T", "B", INPUTS]), ("y", FLOAT, ["T", "B", HIDDEN])


def _head(*more: NodeProto) -> list[NodeProto]:
    return [helper.make_node("Tanh", ["seq"], ["y"]), *more]


def plain() -> bytes:
    """One input, one output, batch in the middle."""
    return _model([*_lstm("x"), *_head()], [X, *STATES], [Y, *NEXT])


def _halves() -> Ports:
    return [(name, FLOAT, ["T", "B", INPUTS // 2]) for name in ("a", "b")]


JOINED = helper.make_node("Concat", ["a", "b"], ["x"], axis=2)
SECOND = helper.make_node("Sigmoid", ["seq"], ["z"])
Z = ("z", FLOAT, ["T", "B", HIDDEN])


def two_inputs() -> bytes:
    """The frame in two halves."""
    return _model([JOINED, *_lstm("x"), *_head()], [*_halves(), *STATES], [Y, *NEXT])


def two_outputs() -> bytes:
    """A second head."""
    return _model([*_lstm("x"), *_head(SECOND)], [X, *STATES], [Y, Z, *NEXT])


def both() -> bytes:
    """Two halves in, two heads out."""
    return _model([JOINED, *_lstm("x"), *_head(SECOND)], [*_halves(), *STATES], [Y, Z, *NEXT])


def side_input() -> bytes:
    """A gain without time, bound when the stream is made."""
    scale = helper.make_node("Mul", ["x", "gain"], ["scaled"])
    return _model([scale, *_lstm("scaled"), *_head()], [X, ("gain", FLOAT, [INPUTS]), *STATES], [Y, *NEXT])


def arg_max() -> bytes:
    """An integer head."""
    best = helper.make_node("ArgMax", ["seq"], ["k"], axis=2, keepdims=0)
    return _model([*_lstm("x"), *_head(best)], [X, *STATES], [Y, ("k", INT64, ["T", "B"]), *NEXT])


def arg_max_alone() -> bytes:
    """An integer head and nothing else."""
    best = helper.make_node("ArgMax", ["seq"], ["k"], axis=2, keepdims=0)
    return _model([*_lstm("x"), best], [X, *STATES], [("k", INT64, ["T", "B"]), *NEXT])


def _as_frames(more: Sequence[NodeProto], inputs: Ports, outputs: Ports) -> bytes:
    """x [B, I] and states -> y [B, H] and next states: one step, no axis of time."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["xt"]),
        *_lstm("xt"),
        helper.make_node("Squeeze", ["seq", "zero"], ["frame"]),
        helper.make_node("Tanh", ["frame"], ["y"]),
        *more,
    ]
    x, y = ("x", FLOAT, ["B", INPUTS]), ("y", FLOAT, ["B", HIDDEN])
    return _model(nodes, [x, *STATES, *inputs], [y, *NEXT, *outputs])


def frame() -> bytes:
    """A file that is one step."""
    return _as_frames([], [], [])


def counter() -> bytes:
    """One step, and how many there were: an integer state."""
    count = helper.make_node("Add", ["count", "one"], ["count_next"])
    return _as_frames([count], [("count", INT64, [1])], [("count_next", INT64, [1])])


def batch_first() -> bytes:
    """[B, T, I], as a Keras or batch_first export has it."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        *_lstm("xt"),
        helper.make_node("Transpose", ["seq"], ["back"], perm=[1, 0, 2]),
        helper.make_node("Tanh", ["back"], ["y"]),
    ]
    return _model(nodes, [("x", FLOAT, ["B", "T", INPUTS]), *STATES], [("y", FLOAT, ["B", "T", HIDDEN]), *NEXT])


def _behind_conv(stride: int, pads: list[int]) -> bytes:
    """x [B, I, T] through a Conv of width 3."""
    kernel = np.random.default_rng(1).uniform(-0.2, 0.2, (INPUTS, INPUTS, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["conv"], name="conv", kernel_shape=[3], pads=pads, strides=[stride]),
        helper.make_node("Transpose", ["conv"], ["xt"], perm=[2, 0, 1]),
        *_lstm("xt"),
        *_head(),
    ]
    return _model(
        nodes,
        [("x", FLOAT, ["B", INPUTS, "T"]), *STATES],
        [("y", FLOAT, ["U", "B", HIDDEN]), *NEXT],
        {"K": kernel},
    )


def causal() -> bytes:
    """A Conv that looks back: its history is one more state, hidden in the graph."""
    return _behind_conv(1, [2, 0])


def lag() -> bytes:
    """A Conv that looks one step ahead."""
    return _behind_conv(1, [1, 1])


def stride() -> bytes:
    """A Conv that gives one step for two."""
    return _behind_conv(2, [1, 0])


BATCHES = (1, 2, 8, 64)

NETS: dict[str, Net] = {
    "plain": Net(plain, BATCHES),
    "batch-first": Net(batch_first, BATCHES),
    "two inputs": Net(two_inputs),
    "two outputs": Net(two_outputs),
    "two inputs, two outputs": Net(both),
    "bound side input": Net(side_input),
    "ArgMax beside": Net(arg_max),
    "ArgMax alone": Net(arg_max_alone),
    "GRU": Net(gru),
    "RNN": Net(rnn),
    "frame model": Net(frame),
    "counter": Net(counter),
    "causal Conv": Net(causal, behind_conv=True),
    "plain, chunk of 16": Net(plain, (1, 8), chunk=16),
    "batch-first, chunk of 16": Net(batch_first, (1, 8), chunk=16),
    "lag": Net(lag, chunk=2, behind_conv=True),
    "stride": Net(stride, chunk=2, behind_conv=True),
}
"""By what is special. The first is what the others are compared with, at one size."""
