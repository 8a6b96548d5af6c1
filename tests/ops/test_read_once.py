"""What the caller can change while a call runs is read once: what was checked is what is used."""

from __future__ import annotations

import threading
import time

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


def test_lengths_that_change_while_they_are_used():
    """A length that was in range when it was looked at, and is not when its row runs, would write far behind the output."""
    batch, steps = 4000, 2
    rng = np.random.default_rng(1)
    x = rng.normal(size=(steps, batch, 1)).astype(np.float32)
    lengths = np.full(batch, steps, np.int32)
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            lengths[:] = 100_000
            lengths[:] = steps

    models = [lstm_infer.load(lengths_of_one_unit(op, gates)) for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))]
    want = [model.run({"x": x, "lengths": np.full(batch, steps, np.int32)})["Y"] for model in models]
    seen = {"ran": 0, "refused": 0}
    thread = threading.Thread(target=flip, daemon=True)
    thread.start()
    try:
        end = time.perf_counter() + 1.5
        while time.perf_counter() < end or not seen["refused"]:
            for model, right in zip(models, want, strict=True):
                try:
                    got = model.run({"x": x, "lengths": lengths})["Y"]
                except lstm_infer.LstmInferError:
                    seen["refused"] += 1
                else:
                    np.testing.assert_array_equal(got, right)
                    seen["ran"] += 1
            assert time.perf_counter() < end + 60
    finally:
        stop.set()
        thread.join()
