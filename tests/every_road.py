"""One model for each road that a call of a stream can take: built here, random weights from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
I, H, WORDS, STEPS = 3, 5, 11, 24
Port = tuple[str, int, list[Any]]


@dataclass(frozen=True)
class Road:
    """`axes`: where time lies in each streamed input (None: a leading axis that only `run` has)."""

    nodes: list[Any]
    inputs: list[Port]
    outputs: list[Port]
    axes: Mapping[str, int | None]
    fast: bool = True
    batch: int = 1
    bound: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of open axes."""

    def load(self) -> lstm_infer.Model:
        ports = [[helper.make_tensor_value_info(*port) for port in ports] for ports in (self.inputs, self.outputs)]
        weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in consts().items()]
        graph = helper.make_graph(self.nodes, "road", *ports, weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return lstm_infer.load(made, **self.options)

    def signal(self, seed: int, steps: int = STEPS) -> dict[str, NDArray[Any]]:
        """What is fed, by name: so many steps along the time axis of each input."""
        rng, fed = np.random.default_rng(seed), {}
        for name, kind, dims in self.inputs:
            if name not in self.axes:
                continue
            axis = self.axes[name]
            known = {"B": self.batch, "T": steps, **self.sizes}
            shape = [known.get(n, n) for n in dims]
            shape = [steps, *shape] if axis is None else shape
            whole = rng.integers(0, WORDS, shape) if kind == INT64 else rng.uniform(-1, 1, shape).astype(np.float32)
            fed[name] = whole
        return fed

    def part(self, fed: Mapping[str, NDArray[Any]], begin: int, stop: int) -> dict[str, NDArray[Any]]:
        """Some of the steps of a signal."""
        at = {name: (slice(None),) * (axis or 0) for name, axis in self.axes.items()}
        return {name: np.ascontiguousarray(a[(*at[name], slice(begin, stop))]) for name, a in fed.items()}

    def frame(self, fed: Mapping[str, NDArray[Any]], t: int) -> dict[str, NDArray[Any]]:
        """One of them, as `step` takes it."""
        return {name: np.ascontiguousarray(np.take(a, t, self.axes[name] or 0)) for name, a in fed.items()}


def consts() -> dict[str, Any]:
    rng = np.random.default_rng(7)

    def random(*shape: int) -> Any:
        return rng.uniform(-0.7, 0.7, shape).astype(np.float32)

    return {
        "lstm_W": random(1, 4 * H, I), "lstm_R": random(1, 4 * H, H), "gru_W": random(1, 3 * H, I),
        "gru_R": random(1, 3 * H, H), "table": random(WORDS, I), "K3": random(I, I, 3), "K5": random(I, I, 5), "D": random(H, 2),
        "one": np.array([1]), "two": np.array([2]), "zero": np.array([0]), "axis0": np.array(0),
        "half": np.float32(0.5), "ten": np.float32(10),
        "width": np.array([I]), "last": np.array(1), "rows": np.array([-1, H]), "twice": np.array([-1, 1, H]),
    }  # fmt: skip


def n(op: str, inputs: list[str], outputs: list[str], **more: Any) -> Any:
    return helper.make_node(op, inputs, outputs, **more)


def lstm(x: str) -> list[Any]:
    return [n("LSTM", [x, "lstm_W", "lstm_R"], ["Y"], name="rec", hidden_size=H), n("Squeeze", ["Y", "one"], ["seq"])]


def gru(x: str) -> list[Any]:
    return [n("GRU", [x, "gru_W", "gru_R"], ["Y"], name="rec", hidden_size=H), n("Squeeze", ["Y", "one"], ["seq"])]


def windowed(kernel: str, **more: Any) -> list[Any]:
    """[B, I, T] through a Conv over time and a GRU."""
    front = n("Conv", ["x", kernel], ["c"], name="conv", **more)
    return [front, n("Transpose", ["c"], ["tbi"], perm=[2, 0, 1]), *gru("tbi"), n("MatMul", ["seq", "D"], ["y"])]


X, SEQ, Y = ("x", FLOAT, ["T", "B", I]), ("seq", FLOAT, ["T", "B", H]), ("y", FLOAT, ["T", "B", 2])
HEAD = n("MatMul", ["seq", "D"], ["y"])
ONE = {"x": 0}
LATE = {"x": 2}

ROADS: dict[str, Callable[[], Road]] = {
    "lstm": lambda: Road([*lstm("x"), HEAD], [X], [Y], ONE),
    "gru, two inputs, two outputs": lambda: Road(
        [n("Mul", ["x", "u"], ["m"]), *gru("m"), HEAD], [X, ("u", *X[1:])], [Y, SEQ], {"x": 0, "u": 0}
    ),
    "batch first": lambda: Road(
        [n("Transpose", ["x"], ["t"], perm=[1, 0, 2]), *lstm("t"), n("Transpose", ["seq"], ["y"], perm=[1, 0, 2])],
        [("x", FLOAT, ["B", "T", I])],
        [("y", FLOAT, ["B", "T", H])],
        {"x": 1},
        batch=2,
    ),
    "frame with states": lambda: Road(
        [
            n("Unsqueeze", ["x", "zero"], ["xt"]),
            n("LSTM", ["xt", "lstm_W", "lstm_R", "", "", "h", "c"], ["Y", "hn", "cn"], name="rec", hidden_size=H),
            n("Squeeze", ["hn", "zero"], ["now"]),
            n("MatMul", ["now", "D"], ["y"]),
        ],
        [("x", FLOAT, [1, I]), ("h", FLOAT, [1, 1, H]), ("c", FLOAT, [1, 1, H])],
        [("y", FLOAT, [1, 2]), ("hn", FLOAT, [1, 1, H]), ("cn", FLOAT, [1, 1, H])],
        {"x": None},
    ),
    "rows of a batch": lambda: Road(
        [*lstm("x"), n("Reshape", ["seq", "rows"], ["flat"]), n("MatMul", ["flat", "D"], ["y"])],
        [X],
        [("y", FLOAT, ["N", 2])],
        ONE,
        batch=3,
    ),
    "two for each step": lambda: Road(
        [
            *lstm("x"),
            n("Tanh", ["seq"], ["other"]),
            n("Unsqueeze", ["seq", "one"], ["a"]),
            n("Unsqueeze", ["other", "one"], ["b"]),
            n("Concat", ["a", "b"], ["both"], axis=1),
            n("Reshape", ["both", "twice"], ["y"]),
        ],
        [("x", FLOAT, ["T", 1, I])],
        [("y", FLOAT, ["N", 1, H])],
        ONE,
    ),
    "bound side input": lambda: Road(
        [*lstm("x"), n("Add", ["seq", "speaker"], ["told"]), n("MatMul", ["told", "D"], ["y"])],
        [X, ("speaker", FLOAT, ["B", H])],
        [Y],
        ONE,
        bound={"speaker": np.linspace(-1, 1, H, dtype=np.float32)[None]},
    ),
    "window": lambda: Road(windowed("K3", pads=[2, 0]), [("x", FLOAT, ["B", I, "T"])], [Y], LATE),
    "tokens": lambda: Road(
        [n("Gather", ["table", "x"], ["e"]), *lstm("e"), HEAD], [("x", INT64, ["T", "B"])], [Y], ONE
    ),
    "sum and counter": lambda: Road(
        [
            *gru("x"),
            n("CumSum", ["seq", "axis0"], ["sum"], name="sum"),
            n("Cast", ["seq"], ["whole"], to=INT64),
            n("Add", ["whole", "one"], ["each"]),
            n("CumSum", ["each", "axis0"], ["count"], name="count"),
        ],
        [X],
        [("sum", *SEQ[1:]), ("count", INT64, SEQ[2])],
        ONE,
    ),
    "lag": lambda: Road(windowed("K5", pads=[2, 2]), [("x", FLOAT, ["B", I, "T"])], [Y], LATE, fast=False),
    "stride": lambda: Road(
        windowed("K5", pads=[2, 2], strides=[3]), [("x", FLOAT, ["B", I, "T"])], [("y", FLOAT, ["U", "B", 2])], LATE, fast=False
    ),
    "random": lambda: Road(
        [n("RandomNormalLike", ["x"], ["r"], name="noise"), n("Add", ["x", "r"], ["xn"]), *gru("xn"), HEAD],
        [X],
        [Y],
        ONE,
        options={"seed": 3},
    ),
    "scan": lambda: Road(
        [
            n("Shape", ["x"], ["s"], start=1, end=2),
            n("Concat", ["s", "width"], ["hs"], axis=0),
            n("ConstantOfShape", ["hs"], ["h0"]),
            n(
                "Scan",
                ["h0", "x"],
                ["hn", "y"],
                name="scan",
                num_scan_inputs=1,
                body=helper.make_graph(
                    [
                        n("Mul", ["h", "half"], ["h2"]),
                        n("Sin", ["xt"], ["xs"]),
                        n("Add", ["h2", "xs"], ["h3"]),
                        n("CumSum", ["h3", "last"], ["each"]),
                    ],
                    "body",
                    [helper.make_tensor_value_info(name, FLOAT, ["B", I]) for name in ("h", "xt")],
                    [helper.make_tensor_value_info(name, FLOAT, ["B", I]) for name in ("h3", "each")],
                ),
            ),
        ],
        [X],
        [("y", FLOAT, ["T", "B", I])],
        ONE,
    ),
    "on the host": lambda: Road(
        [
            *gru("x"),
            n("Mul", ["seq", "ten"], ["wide"]),
            n("Cast", ["wide"], ["whole"], to=INT64),
            n("Abs", ["whole"], ["size"]),
            n("Pow", ["size", "half"], ["y"], name="root"),
        ],
        [X],
        [("y", INT64, SEQ[2])],
        ONE,
        fast=False,
    ),
    "lengths": lambda: Road(
        [n("LSTM", ["x", "lstm_W", "lstm_R", "", "L"], ["Y"], name="rec", hidden_size=H), n("Squeeze", ["Y", "one"], ["y"])],
        [X, ("L", TensorProto.INT32, ["B"])],
        [("y", *SEQ[1:])],
        ONE,
        batch=2,
        bound={"L": np.array([17, 5], np.int32)},
    ),
    "open size": lambda: Road(
        [
            n("ReduceMean", ["x"], ["mean"], keepdims=1),
            n("Mul", ["h", "half"], ["h2"]),
            n("Add", ["h2", "mean"], ["hn"]),
            n("Add", ["x", "hn"], ["y"]),
        ],
        [("x", FLOAT, [1, "N"]), ("h", FLOAT, [1, 1])],
        [("y", FLOAT, [1, "N"]), ("hn", FLOAT, [1, 1])],
        {"x": None},
        sizes={"N": 6},
    ),
}  # fmt: skip
