"""Streams of every kind with what is fed to them, and snapshots that are changed and sealed again, for the tests of snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import stream_models
from lstm_infer import _states
from lstm_infer.streams import snapshot_format

FLOAT, INTS = TensorProto.FLOAT, TensorProto.INT64


def _model(nodes, inputs, outputs, weights, opset=17) -> bytes:
    ports = [[helper.make_tensor_value_info(*port) for port in part] for part in (inputs, outputs)]
    inits = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", *ports, inits)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def queued(seed=0) -> bytes:
    """x [B, 5, T], a Conv that looks two steps ahead, and x itself, which waits for it in a queue; a running sum."""
    n = stream_models.INPUTS
    kernel = np.random.default_rng(seed).uniform(-0.6, 0.6, (n, n, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="ahead", pads=[2, 2]),
        helper.make_node("Add", ["c", "x"], ["s"], name="meet"),
        helper.make_node("CumSum", ["s", "two"], ["y"], name="sum"),
    ]
    shape = ["B", n, "T"]
    return _model(nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], {"k": kernel, "two": np.array(2)})


def image(seed=0) -> bytes:
    """x [B, 2, 3, T], a Conv that gives one step for two: what its window holds is not the whole of its memory."""
    kernel = np.random.default_rng(seed).normal(size=(2, 2, 1, 4)).astype("f")
    node = helper.make_node("Conv", ["x", "k"], ["y"], name="conv", strides=[1, 2])
    shape = ["B", 2, 3, "T"]
    return _model([node], [("x", FLOAT, shape)], [("y", FLOAT, [*shape[:3], "U"])], {"k": kernel})


def counted(seed=0) -> bytes:
    """x [B, 3], position [B], h [B, 4]: a frame model with an integer state that chooses a row of a table, modulo 16."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Gather", ["table", "position"], ["row"], name="look"),
        helper.make_node("Add", ["position", "one"], ["later"]),
        helper.make_node("Mod", ["later", "rows"], ["position_out"]),
        helper.make_node("Concat", ["x", "row"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["told"]),
        helper.make_node("Tanh", ["h"], ["old"]),
        helper.make_node("Add", ["old", "told"], ["h_out"]),
        helper.make_node("Neg", ["h_out"], ["y"]),
    ]
    weights = {"table": rng.normal(size=(16, 4)).astype("f"), "one": np.array([1]), "rows": np.array([16]),
               "w": rng.normal(size=(7, 4)).astype("f")}  # fmt: skip
    inputs = [("x", FLOAT, ["B", 3]), ("position", INTS, ["B"]), ("h", FLOAT, ["B", 4])]
    outputs = [("y", FLOAT, ["B", 4]), ("position_out", INTS, ["B"]), ("h_out", FLOAT, ["B", 4])]
    return _model(nodes, inputs, outputs, weights)


def with_lengths(seed=0) -> bytes:
    """x [T, B, 5], lengths [B]: an LSTM that stops where a signal ends."""
    rng = np.random.default_rng(seed)
    weights = {"W": rng.normal(size=(1, 16, 5)).astype("f"), "R": rng.normal(size=(1, 16, 4)).astype("f")}
    node = helper.make_node("LSTM", ["x", "W", "R", "", "lengths"], ["Y"], name="rec", hidden_size=4)
    inputs = [("x", FLOAT, ["T", "B", 5]), ("lengths", TensorProto.INT32, ["B"])]
    return _model([node], inputs, [("Y", FLOAT, ["T", 1, "B", 4])], weights)


def remembers_whether(seed=0) -> bytes:
    """x [B, 3], seen [B, 3]: was a number ever above 0.5. A state of booleans."""
    nodes = [
        helper.make_node("Greater", ["x", "half"], ["now"]),
        helper.make_node("Or", ["seen", "now"], ["seen_out"]),
        helper.make_node("Cast", ["seen_out"], ["asfloat"], to=FLOAT),
        helper.make_node("Mul", ["asfloat", "x"], ["y"]),
    ]
    shape = ["B", 3]
    inputs = [("x", FLOAT, shape), ("seen", TensorProto.BOOL, shape)]
    outputs = [("y", FLOAT, shape), ("seen_out", TensorProto.BOOL, shape)]
    return _model(nodes, inputs, outputs, {"half": np.float32(0.5)})


def with_speaker(seed=0) -> bytes:
    """x [T, B, 5], speaker [B, 5]: a side input with a row for each signal."""
    return stream_models.residual_beside(seed)


@dataclass(frozen=True)
class Case:
    """A model and a signal for it; `time`, `batch`: axes of what `run` is given."""

    build: Callable[..., bytes]
    frame: tuple[int, ...]
    """[time, batch, ...]; moved to where the model has them."""
    layout: tuple[int, ...] = (0, 1, 2)
    load: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    """Side inputs by name: shape with -1 for the batch, and dtype."""
    out_batch: int = 1
    """The axis with the batch in what `run` returns."""

    def signal(self, n: int, batch: int = 1, seed: int = 0) -> np.ndarray:
        """n steps of a batch, each signal drawn by itself."""
        rows = [np.random.default_rng([seed, b]).uniform(-1, 1, (n, 1, *self.frame)).astype("f") for b in range(batch)]
        return np.ascontiguousarray(np.concatenate(rows, 1).transpose(self.layout))

    def part(self, x: np.ndarray, begin: int, end: int | None) -> np.ndarray:
        """Some steps of a signal."""
        axis = self.layout.index(0)
        return np.ascontiguousarray(x[(slice(None),) * axis + (slice(begin, end),)])

    def row(self, x: np.ndarray, b: int) -> np.ndarray:
        """One signal of a batch."""
        return np.ascontiguousarray(np.take(x, [b], self.layout.index(1)))

    def inputs(self, batch: int = 1) -> dict[str, np.ndarray]:
        """What is bound; the same for each signal whatever the batch."""
        found = {}
        for name, (shape, dtype) in self.bound.items():
            parts = []
            for b in range(batch):
                rng = np.random.default_rng([7, b])
                part = [1 if n < 0 else n for n in shape]
                parts.append((rng.uniform(3, 14, part) if dtype == "int32" else rng.normal(size=part)).astype(dtype))
            found[name] = np.concatenate(parts, list(shape).index(-1)) if -1 in shape else parts[0]
        return found

    def model(self, **more: Any) -> Any:
        """Loaded."""
        import lstm_infer

        return lstm_infer.load(self.build(), **{**self.load, **more})

    def stream(self, model: Any = None, batch: int = 1, **more: Any) -> Any:
        """A stream of it."""
        return (model or self.model()).stream(batch, inputs=self.inputs(batch), **more)


N = stream_models.INPUTS
CASES = {
    "hidden": Case(stream_models.hidden_state, (N,)),
    "ports": Case(stream_models.state_io, (N,)),
    "last": Case(stream_models.last_step, (N,), out_batch=0),
    "causal": Case(stream_models.padded_in_front, (N,), (1, 0, 2), out_batch=0),
    "lag": Case(stream_models.centred_conv, (N,), (1, 2, 0)),
    "stride": Case(lambda: stream_models.centred_conv(stride=2), (N,), (1, 2, 0)),
    "queue": Case(queued, (N,), (1, 2, 0), {"time_axis": {"x": 2}}, out_batch=0),
    "image": Case(image, (2, 3), (1, 2, 3, 0), {"time_axis": {"x": 3}}, out_batch=0),
    "frame": Case(stream_models.frame, (N,)),
    "counter": Case(counted, (3,)),
    "booleans": Case(remembers_whether, (3,), load={"states": {"seen": "seen_out"}}),
    "lengths": Case(with_lengths, (N,), bound={"lengths": ((-1,), "int32")}, out_batch=2),
    "speaker": Case(with_speaker, (N,), bound={"speaker": ((-1, N), "float32")}),
}


def results(given: Any) -> dict[str, np.ndarray]:
    """What a call returned, by name."""
    given = given if isinstance(given, dict) else {"y": given}
    return {name: array for name, array in given.items() if array is not None}


def tail(stream: Any, rest: np.ndarray) -> dict[str, np.ndarray]:
    """All that still comes out: of the rest of a signal, and behind it."""
    found = results(stream.run(rest))
    if stream.lag:
        for name, array in results(stream.flush()).items():
            found[f"{name} behind"] = array
    return found


def sealed(data: bytes) -> bytes:
    """The same bytes with a right length and a right checksum."""
    data = data[:16] + len(data).to_bytes(8, "little") + data[24:]
    return data[:8] + _states.checksum(data).to_bytes(8, "little") + data[16:]


def forged(snap: bytes, **held: int) -> bytes:
    """The same snapshot where a window or queue says that it holds another number of steps, with as many bytes for them."""
    read = snapshot_format.read(snap)
    entries, parts, at = [], [], read.payload
    for entry in read.entries:
        data, at = snap[at : at + entry.n_bytes], at + entry.n_bytes
        if entry.name in held:
            n = held[entry.name]
            shape = tuple(min(max(n, 0), 100) if a == entry.time else s for a, s in enumerate(entry.shape))
            entry = replace(entry, held=n, shape=shape)
            data = data[: entry.n_bytes].ljust(entry.n_bytes, b"\0")
        entries.append(entry)
        parts.append(data)
    header = snapshot_format.written(read.signs, read.batch, read.flushed, entries)
    return sealed(header + b"".join(parts))
