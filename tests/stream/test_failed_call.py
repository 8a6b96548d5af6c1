"""A call that fails on its data leaves the stream as it was before, whatever had run until then."""

from __future__ import annotations

import signal
import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import ShapeError
from lstm_infer.cli.demo.show import MODEL

WORDS, WIDTH, UNITS = 11, 6, 9


def made(*, second_output: bool) -> bytes:
    """Tokens [T, B]: an LSTM over their embeddings; a table of answers is read behind it, so that the layer has already
    moved on when a token is found to lie outside. A second output takes the stream off its fast path."""
    rng = np.random.default_rng(2)

    def random(*shape: int) -> Any:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    consts = {
        "table": random(WORDS + 5, WIDTH), "W": random(1, 4 * UNITS, WIDTH), "R": random(1, 4 * UNITS, UNITS),
        "answers": random(WORDS, UNITS), "one": np.array([1]), "most": np.array(WORDS + 4),
    }  # fmt: skip
    nodes = [
        helper.make_node("Min", ["token", "most"], ["inside"]),
        helper.make_node("Gather", ["table", "inside"], ["x"]),
        helper.make_node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=UNITS, name="lstm"),
        helper.make_node("Squeeze", ["Y", "one"], ["h"]),
        helper.make_node("Gather", ["answers", "token"], ["a"], name="answer"),
        helper.make_node("Add", ["h", "a"], ["y"]),
    ]
    names = ["y", "h"] if second_output else ["y"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("token", TensorProto.INT64, ["T", 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", 1, UNITS]) for name in names],
        [numpy_helper.from_array(array, name) for name, array in consts.items()],
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def value(result: Any) -> Any:
    return result["y"] if isinstance(result, dict) else result


@pytest.mark.parametrize("second_output", [False, True])
def test_the_state_is_that_before_the_call(second_output: bool) -> None:
    model = lstm_infer.load(made(second_output=second_output))
    stream, other = model.stream(), model.stream()
    tokens = np.random.default_rng(3).integers(0, WORDS, (150, 1))
    stream.run(tokens[:10])
    other.run(tokens[:10])
    before = stream.snapshot()
    bad = tokens[10:].copy()
    bad[100] = WORDS  # behind a block of 64 steps that went well
    with pytest.raises(ShapeError, match="answer"):
        stream.run(bad)
    assert stream.snapshot() == before
    with pytest.raises(ShapeError, match="answer"):
        stream.step(bad[100])
    assert stream.snapshot() == before
    np.testing.assert_array_equal(value(stream.run(tokens[10:])), value(other.run(tokens[10:])))


def test_where_nothing_can_fail_nothing_is_kept() -> None:
    blocks = lstm_infer.load(MODEL).stream()._plan.blocks
    assert blocks
    assert not any(block.program.can_fail for block in blocks)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that signal")
@pytest.mark.parametrize("road", ["fast", "general"])
def test_a_signal_in_the_middle_leaves_the_stream_as_it_was(road: str) -> None:
    """Ctrl-C, say: whatever a handler raises while a call runs, state and lock are those before the call."""
    model = lstm_infer.load(made(second_output=False))
    stream = model.stream()
    tokens = np.random.default_rng(5).integers(0, WORDS, (400_000, 1))
    given = (
        tokens if road == "fast" else tokens[::-1][::-1][:, ::1].repeat(2, 1)[:, ::2]
    )  # strides are not for the fast road
    assert given.flags.c_contiguous == (road == "fast")
    if road == "general":
        given = given[:100_000]
    stream.run(tokens[:7])
    before = stream.snapshot()
    begin = time.perf_counter()
    want = stream.run(given)
    length = time.perf_counter() - begin
    after = stream.snapshot()

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    old = signal.signal(signal.SIGALRM, stop)
    stopped = late = 0
    try:
        for part in np.linspace(0.05, 0.8, 12):
            stream.restore(before)
            try:
                signal.setitimer(signal.ITIMER_REAL, float(part * length))
                stream.run(given)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stop:  # late: raised when the call was done, on a machine that was slower before
                found = stream.snapshot()
                assert found in (before, after)
                stopped += found == before
                late += found == after
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert stopped
    stream.restore(before)
    np.testing.assert_array_equal(value(stream.run(given)), value(want))
