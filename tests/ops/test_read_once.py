"""What the caller can change while a call runs is read once: what was checked is what is used."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lstm_infer


def lengths_of_one_unit(op: str, gates: int) -> bytes:
    """x [T, B, 1], lengths [B] -> Y."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(1, gates, 1)).astype(np.float32), name) for name in ("W", "R")]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "W", "R", "", "lengths"], ["Y"], hidden_size=1)],
        "lengths",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", 1]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
        ],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "B", 1])],
        weights,
    )
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    onnx.checker.check_model(model)
    return model


def raced(calls, changing, bad, good) -> dict[str, int]:
    """Calls, each with its right answer, while another thread writes `bad` and `good` into an array they are fed."""
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            changing[...] = bad
            changing[...] = good

    seen = {"ran": 0, "refused": 0}
    thread = threading.Thread(target=flip, daemon=True)
    thread.start()
    try:
        end = time.perf_counter() + 1.5
        while time.perf_counter() < end or not seen["refused"]:
            for call, right in calls:
                try:
                    got = call()
                except lstm_infer.LstmInferError:
                    seen["refused"] += 1
                else:
                    np.testing.assert_array_equal(got, right)
                    seen["ran"] += 1
            assert time.perf_counter() < end + 60
    finally:
        stop.set()
        thread.join()
    return seen


def test_lengths_that_change_while_they_are_used():
    """A length that was in range when it was looked at, and is not when its row runs, would write far behind the output."""
    batch, steps = 4000, 2
    rng = np.random.default_rng(1)
    x = rng.normal(size=(steps, batch, 1)).astype(np.float32)
    lengths = np.full(batch, steps, np.int32)
    models = [lstm_infer.load(lengths_of_one_unit(op, gates)) for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))]
    calls = [
        (
            partial(lambda model: model.run({"x": x, "lengths": lengths})["Y"], model),
            model.run({"x": x, "lengths": lengths})["Y"],
        )
        for model in models
    ]
    raced(calls, lengths, 100_000, steps)


def indexed(op: str) -> bytes:
    """x [64, 8], index (and updates) -> y."""
    shape = ["N", "K"] if op.endswith("ND") else ["N", 8]
    ports = [("x", TensorProto.FLOAT, [64, 8]), ("index", TensorProto.INT64, shape)]
    ports += [("updates", TensorProto.FLOAT, ["N", 8])] if op.startswith("Scatter") else []
    graph = helper.make_graph(
        [helper.make_node(op, [name for name, _, _ in ports], ["y"])],
        "indexed",
        [helper.make_tensor_value_info(*port) for port in ports],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])],
    )
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    ).SerializeToString()
    return model


def test_indices_that_change_while_they_are_used():
    """An index that was in range when it was looked at, and is not when it is used, would reach outside of all memory."""
    n = 20_000
    rng = np.random.default_rng(2)
    x, updates = rng.normal(size=(64, 8)).astype(np.float32), rng.normal(size=(n, 8)).astype(np.float32)
    index = np.full((n, 8), 5, np.int64)
    calls = []
    for op in ("GatherElements", "GatherND", "ScatterElements", "ScatterND"):
        feeds = {"x": x, "index": index.reshape(-1)[:n, None] if op.endswith("ND") else index}
        feeds |= {"updates": updates} if op.startswith("Scatter") else {}
        run = partial(lambda model, feeds: model.run(feeds)["y"], lstm_infer.load(indexed(op)), feeds)
        calls.append((run, run()))
    raced(calls, index, 2**40, 5)
