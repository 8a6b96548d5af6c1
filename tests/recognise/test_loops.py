"""Loops that read one position of a sequence in each iteration, however they count and however they read."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

N, F, H = 7, 3, 4
READS = ("Gather", "Gather of one row", "Slice", "Slice without axes")


def looped(
    most: int | None, read: str, *, open_axis: bool = False, carried: bool = False, limit: int | None = None
) -> bytes:
    """h = tanh(x[t] W + h R), with as many iterations as M or the condition allow.

    most: M, None where there is none. carried: R goes through the loop unchanged and is cut inside, along two axes.
    limit: a Slice takes two rows where the sequence is longer, and their sum is the step's.
    """
    rng = np.random.default_rng(1)
    node, info = helper.make_node, helper.make_tensor_value_info
    consts = {
        "go": np.array(True), "i0": np.array(0), "one": np.array(1), "ones": np.array([1]), "axis": np.array([0]),
        "h0": np.zeros((1, H), np.float32), "W": rng.normal(0, 0.4, (F, H)).astype(np.float32),
        "R": rng.normal(0, 0.4, (H, 2 * H)).astype(np.float32), "from": np.array([0, 0]), "to": np.array([2**31 - 1, H]),
    }  # fmt: skip
    if most is not None:
        consts["M"] = np.array(most)
    body = [node("Add", ["i", "one"], ["after"]), node("Less", ["after", "steps"], ["again"])]
    if read == "Gather":
        body += [node("Gather", ["x", "i"], ["row"], axis=0)]
    else:
        body += [node("Unsqueeze", ["i", "axis"], ["at"]), node("Add", ["at", "width"], ["end"])]
        axes = ["axis"] if read == "Slice" else []
        body += [node("Gather", ["x", "at"], ["cut"], axis=0)] if "one row" in read else []
        body += [node("Slice", ["x", "at", "end", *axes], ["cut"])] if "Slice" in read else []
        body += [node("Squeeze", ["cut", "axis"], ["row"]) if limit is None else
                 node("ReduceSum", ["cut", "axis"], ["row"], keepdims=0)]  # fmt: skip
    body += [node("Slice", ["Rc" if carried else "R", "from", "to"], ["R0"])]
    body += [node("MatMul", ["row", "W"], ["a"]), node("MatMul", ["h", "R0"], ["b"]), node("Add", ["a", "b"], ["ab"])]
    body += [node("Tanh", ["ab"], ["hn"])] + ([node("Identity", ["Rc"], ["Rn"])] if carried else [])
    more = [info("Rc", TensorProto.FLOAT, [H, 2 * H])] if carried else []
    inner = helper.make_graph(
        body, "body",
        [info("it", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("i", TensorProto.INT64, []),
         info("h", TensorProto.FLOAT, [None, H]), *more],
        [info("again", TensorProto.BOOL, []), info("after", TensorProto.INT64, []),
         info("hn", TensorProto.FLOAT, [None, H]), *([info("Rn", TensorProto.FLOAT, [H, 2 * H])] if carried else []),
         info("hn", TensorProto.FLOAT, [None, H])],
    )  # fmt: skip
    nodes = []
    if open_axis:
        nodes += [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "i0"], ["steps"], axis=0)]
    else:
        consts["steps"] = np.array(N)
    if limit is None:
        nodes += [node("Identity", ["ones"], ["width"])]
    else:
        consts["limit"] = np.array(limit)
        nodes += [node("Greater", ["steps", "limit"], ["long"]), node("Cast", ["long"], ["more"], to=TensorProto.INT64),
                  node("Add", ["ones", "more"], ["width"])]  # fmt: skip
    given = ["M" if most is not None else "", "go", "i0", "h0", *(["R"] if carried else [])]
    nodes += [node("Loop", given, ["il", "last", *(["Rl"] if carried else []), "y"], body=inner)]
    T = "T" if open_axis else N
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, [T, 1, F])],
        [info("y", TensorProto.FLOAT, [T, 1, H]), info("last", TensorProto.FLOAT, [1, H])],
        [numpy_helper.from_array(v, k) for k, v in consts.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("open_axis", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("most", [N, 1000, 2**31 - 1, 2**63 - 1, None])
def test_a_condition_ends_the_loop(most: int | None, read: str, open_axis: bool, carried: bool) -> None:
    if open_axis and most == N:
        pytest.skip("more steps than M allows")
    data = looped(most, read, open_axis=open_axis, carried=carried)
    model = lstm_infer.load(data)
    session = onnxruntime.InferenceSession(data)
    for T in (N, 3) if open_axis else (N,):
        x = np.random.default_rng(T).normal(size=(T, 1, F)).astype(np.float32)
        want = session.run(None, {"x": x})
        got = model.run({"x": x})
        stream = model.stream()
        for wanted, name in zip(want, ("y", "last"), strict=True):
            tolerances.like_onnxruntime(got[name], wanted, name)
        pieces = [stream.run(x[:2])["y"], stream.run(x[2:])["y"]]
        np.testing.assert_array_equal(np.concatenate(pieces), got["y"])


def test_a_loop_that_ends_before_the_sequence_is_no_loop_over_it() -> None:
    data = looped(N - 2, "Gather")
    model = lstm_infer.load(data)
    x = np.random.default_rng(0).normal(size=(N, 1, F)).astype(np.float32)
    want = onnxruntime.InferenceSession(data).run(None, {"x": x})
    tolerances.like_onnxruntime(model.run({"x": x})["last"], want[1], "last")
    with pytest.raises(lstm_infer.NotStreamableError):
        model.stream()


@pytest.mark.parametrize("read", ["Slice", "Slice without axes"])
@pytest.mark.parametrize("limit", [5, 20])
def test_what_is_read_is_as_wide_as_the_length_says(limit: int, read: str) -> None:
    """x[i : i + 1 + (T > limit)]: one row at the lengths that were walked is not one row at all."""
    data = looped(2**63 - 1, read, open_axis=True, limit=limit)
    model, session = lstm_infer.load(data), onnxruntime.InferenceSession(data)
    for T in (3, N, 12, 25):
        x = np.random.default_rng(T).normal(size=(T, 1, F)).astype(np.float32)
        got = model.run({"x": x})
        for wanted, name in zip(session.run(None, {"x": x}), ("y", "last"), strict=True):
            tolerances.like_onnxruntime(got[name], wanted, f"{T} steps, {name}")
    with pytest.raises(lstm_infer.NotStreamableError):
        model.stream()
