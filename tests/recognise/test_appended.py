"""Loops that append to a carried value in each step: y = Concat(y, h)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from lstm_infer.errors import NotStreamableError, StateError

F, H = 3, 4


def appending(
    *, begins: int = 0, axis: int = 0, y_first: bool = False, in_front: bool = False, twice: bool = False,
    read: bool = False, states: bool = False, outputs: str = "yh",
) -> bytes:  # fmt: skip
    """h = tanh(x[t] W + h R), y = Concat(y, h).

    begins: rows that y begins with. axis: along which it grows. y_first: carried in front of h. in_front: h comes first.
    twice: h and -h are appended. read: the step looks at y. states: h begins as an input.
    """
    rng = np.random.default_rng(2)
    node, info, FLOAT = helper.make_node, helper.make_tensor_value_info, TensorProto.FLOAT
    shape = [1, 1, H]
    shape[axis] = begins
    consts = {
        "go": np.array(True), "zero": np.array(0), "where": np.array([axis]), "y0": rng.normal(0, 1, shape),
        "W": rng.normal(0, 0.4, (F, H)), "R": rng.normal(0, 0.4, (H, H)), **({} if states else {"h0": np.zeros((1, H))}),
    }  # fmt: skip
    consts = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in consts.items()}
    items = ["hu", "less"] if twice else ["hu"]
    body = [
        node("Gather", ["x", "it"], ["row"], axis=0), node("MatMul", ["row", "W"], ["a"]), node("MatMul", ["h", "R"], ["b"]),
        node("Add", ["a", "b"], ["ab"]), node("Tanh", ["abc" if read else "ab"], ["hn"]),
        node("Unsqueeze", ["hn", "where"], ["hu"]),
        node("Neg", ["hu"], ["less"]), node("Concat", [*items, "y"] if in_front else ["y", *items], ["yn"], axis=axis),
    ]  # fmt: skip
    if read:
        body[4:4] = [node("ReduceMax", ["y"], ["most"], axes=[axis], keepdims=0), node("Add", ["ab", "most"], ["abc"])]
    row = [None if a == axis else 1 for a in range(2)]
    pairs = [
        (info("h", FLOAT, [1, H]), info("hn", FLOAT, [1, H]), "h0", "last"),
        (info("y", FLOAT, [*row, H]), info("yn", FLOAT, [*row, H]), "y0", "ys"),
    ]
    pairs = pairs[::-1] if y_first else pairs
    inner = helper.make_graph(
        body, "body", [info("it", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), *(p[0] for p in pairs)],
        [info("c", TensorProto.BOOL, []), *(p[1] for p in pairs)],
    )  # fmt: skip
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "zero"], ["T"], axis=0),
        node("Loop", ["T", "go", *(p[2] for p in pairs)], [p[3] for p in pairs], body=inner),
    ]  # fmt: skip
    given = {"y": info("ys", FLOAT, [*row, H]), "h": info("last", FLOAT, [1, H])}
    graph = helper.make_graph(
        nodes, "g", [info("x", FLOAT, ["T", 1, F]), *([info("h0", FLOAT, [1, H])] if states else [])],
        [given[one] for one in outputs], [numpy_helper.from_array(v, k) for k, v in consts.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def ran(file: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def signal(T: int) -> np.ndarray:
    return np.random.default_rng(T).normal(size=(T, 1, F)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("begins", [0, 1, 3])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("in_front", [False, True])
def test_what_is_appended_is_a_sequence(in_front: bool, twice: bool, begins: int, axis: int) -> None:
    """At any length, also where the loop is too long to be written out pass by pass."""
    file = appending(begins=begins, axis=axis, in_front=in_front, twice=twice)
    model = lstm_infer.load(file)
    for T in (1, 7, 100):
        got, want = model.run({"x": signal(T)}), ran(file, {"x": signal(T)})
        for name in want:
            assert got[name].shape == want[name].shape
            tolerances.like_onnxruntime(got[name], want[name])


@pytest.mark.parametrize("y_first", [False, True])
def test_a_loop_that_appends_streams(y_first: bool, tmp_path: Path) -> None:
    """Every step gives the row that it appends, and in each form."""
    file = appending(y_first=y_first)
    model, x = lstm_infer.load(file), signal(9)
    want = ran(file, {"x": x})
    stream = model.stream()
    got = [stream.run(x[:4]), stream.run(x[4:])]
    tolerances.like_onnxruntime(np.concatenate([one["ys"] for one in got]), want["ys"])
    tolerances.like_onnxruntime(got[-1]["last"], want["last"])
    for name, to in (("m.lsi", "native"), ("step.onnx", "onnx"), *([] if y_first else [("c", "c")])):
        assert lstm_infer.convert(file, tmp_path / name, to=to).ok


def test_what_was_appended_to_is_given_out_beside_the_state() -> None:
    """The last row of y is the next h: the output that holds h alone is the state, and y stays an output."""
    file = appending(states=True)
    stream, h, x = lstm_infer.load(file).stream(), np.zeros((1, H), np.float32), signal(60)
    for part in (x[:5], x[5:6], x[6:]):
        want = ran(file, {"x": part, "h0": h})
        tolerances.like_onnxruntime(stream.run(part), want["ys"])
        h = want["last"]
        tolerances.like_onnxruntime(stream.state["h0"], h)


def test_rows_in_front_do_not_stream() -> None:
    with pytest.raises(NotStreamableError, match="Loop"):
        lstm_infer.load(appending(begins=2)).stream()


@pytest.mark.parametrize("outputs", ["yh", "y"])
def test_a_row_of_what_grows_is_no_state(outputs: str) -> None:
    """The loop reads y: it stays a loop, whose output has as many rows as the call has steps."""
    file = appending(begins=1, read=True, states=True, outputs=outputs)
    x, h = signal(6), np.full((1, H), 0.5, np.float32)
    tolerances.like_onnxruntime(lstm_infer.load(file).run({"x": x, "h0": h})["ys"], ran(file, {"x": x, "h0": h})["ys"])
    with pytest.raises(StateError, match="states="):
        lstm_infer.load(file).stream()
    with pytest.raises(StateError, match="cannot be the next value"):
        lstm_infer.load(file, states={"h0": "ys"}).stream()


def test_a_loop_that_reads_what_grows_keeps_its_state() -> None:
    file = appending(begins=1, read=True, states=True)
    stream, h = lstm_infer.load(file, states={"h0": "last"}).stream(), np.zeros((1, H), np.float32)
    for T in (5, 1, 40):
        want = ran(file, {"x": signal(T), "h0": h})
        tolerances.like_onnxruntime(stream.step(signal(T)), want["ys"])
        h = want["last"]
        tolerances.like_onnxruntime(stream.state["h0"], h)
