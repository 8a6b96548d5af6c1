"""Long work lets other threads go on meanwhile, whatever kind of work it is; short work keeps the GIL."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import stream_models
from lstm_infer.streams.gil import RELEASE_FROM

WIDE = 3_000_000

ACROSS = {
    "ReduceMean": [helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1)],
    "Softmax": [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("ReduceMax", ["s"], ["m"], keepdims=1)],
    "Tanh": [helper.make_node("Tanh", ["x"], ["t"]), helper.make_node("Slice", ["t", "zero", "one", "one"], ["m"])],
}


def decay(kind: str) -> bytes:
    """h' = h / 2 + what comes of a wide frame."""
    nodes = [
        *ACROSS[kind],
        helper.make_node("Mul", ["h", "half"], ["hh"]),
        helper.make_node("Add", ["hh", "m"], ["hn"]),
    ]
    nodes += [helper.make_node("Neg", ["hn"], ["y"])]
    sizes = {"x": [1, WIDE], "h": [1, 1], "y": [1, 1], "hn": [1, 1]}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sizes.items()]
    consts = {"half": np.float32(0.5), "zero": np.array([0]), "one": np.array([1])}
    inits = [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8).SerializeToString()


def another_goes_on(call) -> bool:
    """Does another thread get a turn while `call` runs, though nobody asks for one. It may be late: one of many tries."""
    return any(_went_on(call) for _ in range(50))


def _went_on(call) -> bool:
    gate, went_on = threading.Lock(), []

    def other():
        with gate:
            went_on.append(True)

    before = sys.getswitchinterval()
    gate.acquire()
    thread = threading.Thread(target=other)
    thread.start()
    sys.setswitchinterval(100)
    try:
        gate.release()
        call()
        return bool(went_on)
    finally:
        sys.setswitchinterval(before)
        thread.join()


@pytest.mark.parametrize("kind", ACROSS)
def test_work_that_is_no_product_counts(kind):
    model = lstm_infer.load(decay(kind), states={"h": "hn"})
    stream, x = model.stream(), np.ones((1, WIDE), np.float32)
    stream.step(x)
    assert stream._plan.call is not None, "the fast road"
    assert (
        stream._plan.blocks[-1].work >= RELEASE_FROM
    )  # whether a thread wakes up in a millisecond is up to the machine


def test_the_steps_of_a_chunk_are_counted_together():
    """Of many short blocks, none is long work by itself."""
    model = lstm_infer.load(stream_models.hidden_state())
    stream = model.stream()
    frames = np.zeros((200_000, 1, stream_models.INPUTS), np.float32)
    stream.run(frames[:9])
    works = [block.work for block in stream._plan.blocks]
    assert works == sorted(works, reverse=True)
    assert works[0] < RELEASE_FROM
    assert another_goes_on(lambda: stream.run(frames))
    assert not another_goes_on(lambda: stream.run(frames[:3]))
    assert not another_goes_on(lambda: stream.step(frames[0]))
