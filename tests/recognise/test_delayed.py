"""A sequence moved back by a few steps streams, however the file says it; what is no delay at every length is refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from engine import onnxruntime_run

I, H = 3, 4
N = helper.make_node


def shifted(form, x, axis, steps):
    """Nodes for `x` moved back along an axis, and the value they give."""
    cut = N("Slice", [x, "begin", "end", "axis"], ["cut"])
    head = [N("Slice", [x, "begin", "few", "axis"], ["head"]), N("Shape", ["head"], ["shape"])]
    return {
        "zeros like": [*head, N("ConstantOfShape", ["shape"], ["front"]), cut,
                       N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "expanded": [*head, N("Expand", ["nought", "shape"], ["front"]), cut,
                     N("Concat", ["front", "cut"], ["moved"], axis=axis - 3)],
        "all axes named": [*head, N("ConstantOfShape", ["shape"], ["front"]),
                           N("Slice", [x, "begins", "ends", "axes"], ["cut"]),
                           N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "ones": [*head, N("Expand", ["unit", "shape"], ["front"]), cut,
                 N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "a row": [*head, N("Expand", ["row", "shape"], ["front"]), cut,
                  N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "fed": [*head, N("Mul", ["head", "unit"], ["front"]), cut,
                N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "so many zeros": [N("Shape", [x], ["all"]), N("ScatterElements", ["all", "axis", "count"], ["shape"]),
                          N("ConstantOfShape", ["shape"], ["front"]), cut,
                          N("Concat", ["front", "cut"], ["moved"], axis=axis)],
        "pad and crop": [N("Pad", [x, "both"], ["moved"])],
        "pad of a crop": [cut, N("Pad", ["cut", "front_only"], ["moved"])],
        "computed pads": [N("Reshape", ["both", "minus"], ["pads"]), N("Pad", [x, "pads"], ["moved"])],
    }[form]  # fmt: skip


def model(form, behind=False, axis=0, steps=1):
    """LSTM of the delayed signal, or the delayed output of an LSTM, [T, B, I] or [B, T, I]."""
    rng = np.random.default_rng(3)
    row = [0.5, -1.0, 2.0, 1.5][: H if behind else I]
    both = np.zeros((2, 3), np.int64)
    both[:, axis] = steps, -steps
    consts = {
        "W": rng.uniform(-0.6, 0.6, (1, 4 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 4 * H, H)).astype(np.float32),
        "begin": np.array([0]), "end": np.array([-steps]), "few": np.array([steps]), "axis": np.array([axis]),
        "count": np.array([steps]), "nought": np.float32(0), "unit": np.float32(1), "row": np.array([[row]], np.float32),
        "both": both.reshape(-1),
        "begins": np.zeros(3, np.int64), "axes": np.arange(3),
        "ends": np.where(np.arange(3) == axis, -steps, 2**31 - 1), "minus": np.array([-1]),
        "front_only": np.maximum(both, 0).reshape(-1), "one": np.array([1]),
    }  # fmt: skip
    moved = shifted(form, "seq" if behind else "x", axis, steps)

    def layer(source, out):
        turned = axis == 1
        first = [N("Transpose", [source], ["turned"], perm=[1, 0, 2])] if turned else []
        lstm = N("LSTM", ["turned" if turned else source, "W", "R"], ["Y"], hidden_size=H)
        last = [N("Squeeze", ["Y", "one"], ["flat" if turned else out])]
        back = [N("Transpose", ["flat"], [out], perm=[1, 0, 2])] if turned else []
        return [*first, lstm, *last, *back]

    nodes = (
        [*layer("x", "seq"), *moved, N("Add", ["seq", "moved"], ["y"])] if behind else [*moved, *layer("moved", "y")]
    )
    used = {v for node in nodes for v in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I] if axis == 0 else ["B", "T", I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in consts.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


DELAYS = [
    "zeros like", "expanded", "pad and crop", "pad of a crop", "computed pads", "so many zeros", "all axes named", "ones", "a row",
]  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("form", DELAYS)
def test_a_delay_streams(rng, form, behind, axis):
    data = model(form, behind, axis)
    mine = lstm_infer.load(data)
    for steps in (1, 2, 9):
        x = rng.uniform(-1, 1, (steps, 2, I) if axis == 0 else (2, steps, I)).astype(np.float32)
        want = onnxruntime_run(data, {"x": x})["y"]
        whole = mine.run({"x": x})["y"]
        tolerances.like_onnxruntime(whole, want, f"{steps} steps")
        stream = mine.stream(batch=2)
        assert stream.lag == 0
        first = stream.run(np.take(x, range(steps // 3), axis))
        rest = stream.run(np.take(x, range(steps // 3, steps), axis))
        tolerances.exact(np.concatenate([first, rest], axis), whole, f"{steps} steps in two pieces")


@pytest.mark.parametrize("form", ["zeros like", "pad and crop", "ones", "a row"])
def test_a_delay_of_two(rng, form):
    data = model(form, steps=2)
    mine = lstm_infer.load(data)
    for steps in (1, 2, 7):
        x = rng.uniform(-1, 1, (steps, 1, I)).astype(np.float32)
        whole = mine.run({"x": x})["y"]
        if form != "pad and crop" or steps > 2:
            tolerances.like_onnxruntime(whole, onnxruntime_run(data, {"x": x})["y"], f"{steps} steps")
        stream = mine.stream()
        got = np.concatenate([stream.run(step[None]) for step in x])
        tolerances.exact(got, whole, f"{steps} steps, each by itself")


@pytest.mark.parametrize(("form", "steps"), [("so many zeros", 2), ("pad of a crop", 2), ("fed", 1)])
def test_what_is_longer_than_a_short_signal_or_not_known_is_refused(rng, form, steps):
    """Two zeros in front of all but the last two of one step are two steps."""
    data = model(form, steps=steps)
    mine = lstm_infer.load(data)
    for length in (1, 5):
        x = rng.uniform(-1, 1, (length, 1, I)).astype(np.float32)
        tolerances.like_onnxruntime(mine.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], f"{length} steps")
    with pytest.raises(lstm_infer.NotStreamableError):
        mine.stream()


def test_the_first_step_is_known_where_the_signal_is_no_number():
    mine = lstm_infer.load(model("a row", behind=True))
    x = np.full((3, 1, I), np.nan, np.float32)
    whole = mine.run({"x": x})["y"]
    stream = mine.stream()
    tolerances.exact(np.concatenate([stream.run(step[None]) for step in x]), whole, "no numbers")


def changes(kind):
    """x [B, T, I], what is computed of each step and the one before with a constant in front -> LSTM."""
    rng = np.random.default_rng(6)
    consts = {
        "W": rng.uniform(-0.6, 0.6, (1, 4 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 4 * H, H)).astype(np.float32), "nought": np.array([0]), "one": np.array([1]),
        "last": np.array([-1]), "all": np.array([2**62]), "row": np.array([[[0.5, -1.0, 2.0]]], np.float32),
        "half": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        N("Slice", ["x", "one", "all", "one"], ["later"]), N("Slice", ["x", "nought", "last", "one"], ["earlier"]),
        N("Slice", ["x", "nought", "one", "one"], ["head"]), N("Shape", ["head"], ["shape"]),
    ]  # fmt: skip
    front = [N("ConstantOfShape", ["shape"], ["front"])]
    made = [N("Sub", ["later", "earlier"], ["made"])]
    if kind == "row":
        front = [N("Expand", ["row", "shape"], ["front"])]
    if kind == "function":
        made = [
            N("Mul", ["later", "half"], ["part"]),
            N("Max", ["part", "earlier"], ["most"]),
            N("Tanh", ["most"], ["made"]),
        ]
    if kind == "two later":
        consts["two"] = np.array([2])
        nodes.append(N("Slice", ["x", "two", "all", "one"], ["longer"]))
        made = [N("Concat", ["longer", "head"], ["as_long"], axis=1), N("Sub", ["as_long", "earlier"], ["made"])]
    if kind == "summed":
        made = [N("CumSum", ["later", "one"], ["sums"]), N("Sub", ["sums", "earlier"], ["made"])]
    nodes += [
        *front, *made, N("Concat", ["front", "made"], ["changes"], axis=1), N("Add", ["changes", "x"], ["both"]),
        N("Transpose", ["both"], ["steps"], perm=[1, 0, 2]), N("LSTM", ["steps", "W", "R"], ["Y"], hidden_size=H),
        N("Squeeze", ["Y", "one"], ["y"]),
    ]  # fmt: skip
    used = {v for node in nodes for v in node.input}
    held = [numpy_helper.from_array(value, name) for name, value in consts.items() if name in used]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", I])]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", ports, outs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("kind", ["zeros", "row", "function"])
def test_changes_from_step_to_step_stream(rng, kind):
    data = changes(kind)
    mine = lstm_infer.load(data)
    for steps in (1, 2, 9):
        x = rng.uniform(-1, 1, (2, steps, I)).astype(np.float32)
        whole = mine.run({"x": x})["y"]
        tolerances.like_onnxruntime(whole, onnxruntime_run(data, {"x": x})["y"], f"{steps} steps")
        stream = mine.stream(batch=2)
        assert stream.lag == 0
        tolerances.exact(np.concatenate([stream.run(x[:, t : t + 1]) for t in range(steps)]), whole, f"{steps} steps")


@pytest.mark.parametrize("kind", ["two later", "summed"])
def test_what_is_more_than_each_step_and_the_one_before_is_refused(rng, kind):
    data = changes(kind)
    mine = lstm_infer.load(data)
    x = rng.uniform(-1, 1, (2, 5, I)).astype(np.float32)
    tolerances.like_onnxruntime(mine.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], "whole")
    with pytest.raises(lstm_infer.NotStreamableError):
        mine.stream()


@pytest.mark.parametrize("kind", ["delay", "changes"])
def test_a_front_as_long_as_the_rest_begins_is_none_where_there_is_no_rest(rng, kind):
    """zeros_like(rest[:1]) in front of rest = x[:-1] or x[1:] - x[:-1]: of one step nothing is left."""
    rest = {
        "delay": [N("Slice", ["x", "nought", "last", "nought"], ["rest"])],
        "changes": [
            N("Slice", ["x", "nought", "last", "nought"], ["earlier"]),
            N("Slice", ["x", "one", "all", "nought"], ["later"]),
            N("Sub", ["later", "earlier"], ["rest"]),
        ],
    }[kind]
    front = [
        N("Slice", ["rest", "nought", "one", "nought"], ["head"]), N("Shape", ["head"], ["shape"]),
        N("ConstantOfShape", ["shape"], ["front"]), N("Concat", ["front", "rest"], ["y"], axis=0),
    ]  # fmt: skip
    consts = {"nought": np.array([0]), "one": np.array([1]), "last": np.array([-1]), "all": np.array([2**62])}
    held = [numpy_helper.from_array(value, name) for name, value in consts.items()]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I])]
    graph = helper.make_graph(
        rest + front, "g", ports, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], held
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    mine = lstm_infer.load(data)
    for steps in (1, 2, 5):
        x = rng.uniform(-1, 1, (steps, 2, I)).astype(np.float32)
        tolerances.like_onnxruntime(mine.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], f"{steps} steps")


def joined(front, rows=None):
    """x [B, T, I] with constant rows in front -> Conv of 3 steps over time -> LSTM."""
    rng = np.random.default_rng(5)
    consts = {
        "W": rng.uniform(-0.6, 0.6, (1, 4 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 4 * H, H)).astype(np.float32),
        "K": rng.uniform(-0.6, 0.6, (I, I, 3)).astype(np.float32), "rows": np.array([0, front, I]), "first": np.array([0]),
        "one": np.array([1]), "fill": np.zeros((1, front, I), np.float32) if rows is None else rows,
    }  # fmt: skip
    nodes = [
        N("Shape", ["x"], ["all"]), N("Slice", ["all", "first", "one"], ["batch"]),
        N("Slice", ["rows", "one", "three"], ["tail"]), N("Concat", ["batch", "tail"], ["shape"], axis=0),
        N("Expand", ["fill", "shape"], ["front"]), N("Concat", ["front", "x"], ["longer"], axis=1),
        N("Transpose", ["longer"], ["channels"], perm=[0, 2, 1]), N("Conv", ["channels", "K"], ["slid"], kernel_shape=[3]),
        N("Transpose", ["slid"], ["steps"], perm=[2, 0, 1]), N("LSTM", ["steps", "W", "R"], ["Y"], hidden_size=H),
        N("Squeeze", ["Y", "one"], ["y"]),
    ]  # fmt: skip
    consts["three"] = np.array([3])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in consts.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("front", "rows"), [(2, None), (1, None), (2, np.full((1, 2, I), -0.5, np.float32))], ids=["zeros", "one", "halves"]
)
def test_a_number_in_front_of_a_window_is_its_padding(rng, front, rows):
    data = joined(front, rows)
    mine = lstm_infer.load(data)
    for steps in (2, 3, 9):
        x = rng.uniform(-1, 1, (2, steps, I)).astype(np.float32)
        whole = mine.run({"x": x})["y"]
        tolerances.like_onnxruntime(whole, onnxruntime_run(data, {"x": x})["y"], f"{steps} steps")
        stream = mine.stream(batch=2)
        parts = [stream.run(x[:, t : t + 1]) for t in range(steps)]
        parts += [stream.flush()] if stream.lag else []
        tolerances.exact(np.concatenate(parts), whole, f"{steps} steps, each by itself")


def test_as_many_zeros_as_the_file_declares_steps_are_no_padding(rng):
    """Twelve steps of six: at nine, where the file's six are opened, eighteen."""
    consts = {
        "K": rng.uniform(-0.6, 0.6, (I, I, 3)).astype(np.float32), "W": rng.uniform(-0.6, 0.6, (1, 4 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 4 * H, H)).astype(np.float32), "one": np.array([1]), "baked": np.array([6, 1, I]),
    }  # fmt: skip
    nodes = [
        N("Shape", ["x"], ["shape"]), N("ConstantOfShape", ["shape"], ["front"]), N("Concat", ["front", "x"], ["longer"], axis=1),
        N("Transpose", ["longer"], ["channels"], perm=[0, 2, 1]), N("Conv", ["channels", "K"], ["slid"], kernel_shape=[3]),
        N("Transpose", ["slid"], ["steps"], perm=[2, 0, 1]), N("LSTM", ["steps", "W", "R"], ["Y"], hidden_size=H),
        N("Squeeze", ["Y", "one"], ["long"]), N("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        N("Reshape", ["turned", "baked"], ["same"]), N("LSTM", ["same", "W", "R"], ["Z"], hidden_size=H),
        N("Squeeze", ["Z", "one"], ["y"]),
    ]  # fmt: skip
    held = [numpy_helper.from_array(value, name) for name, value in consts.items()]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, I])]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("long", "y")]
    graph = helper.make_graph(nodes, "g", ports, outs, held)
    mine = lstm_infer.load(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    for steps in (6, 9):
        got = mine.run({"x": rng.uniform(-1, 1, (1, steps, I)).astype(np.float32)})
        assert got["long"].shape[0] == 2 * steps - 2 and got["y"].shape[0] == steps
    with pytest.raises(lstm_infer.NotStreamableError):
        mine.stream()


def test_rows_that_differ_in_front_of_a_window_are_refused_with_the_reason(rng):
    data = joined(2, rng.uniform(-1, 1, (1, 2, I)).astype(np.float32))
    mine = lstm_infer.load(data)
    x = rng.uniform(-1, 1, (1, 5, I)).astype(np.float32)
    tolerances.like_onnxruntime(mine.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], "whole")
    with pytest.raises(lstm_infer.NotStreamableError, match=r"Where time is axis 1 of 'x', node .*joins along time"):
        mine.stream()


@pytest.mark.parametrize("limit", [5, 20])
def test_what_is_joined_in_front_is_what_the_length_says(limit):
    """Zeros at the lengths that were walked, ones at others."""
    rng = np.random.default_rng(3)
    consts = {
        "W": rng.uniform(-0.6, 0.6, (1, 4 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 4 * H, H)).astype(np.float32),
        "limit": np.array(limit), "first": np.array(0), "zeros": np.zeros((1, 1, I), np.float32),
        "ones": np.ones((1, 1, I), np.float32), "begin": np.array([0]), "end": np.array([-1]), "axis": np.array([0]),
        "one": np.array([1]),
    }  # fmt: skip
    nodes = [
        N("Shape", ["x"], ["shape"]), N("Gather", ["shape", "first"], ["T"], axis=0), N("Greater", ["T", "limit"], ["long"]),
        N("Where", ["long", "ones", "zeros"], ["front"]), N("Slice", ["x", "begin", "end", "axis"], ["cut"]),
        N("Concat", ["front", "cut"], ["moved"], axis=0), N("LSTM", ["moved", "W", "R"], ["Y"], hidden_size=H),
        N("Squeeze", ["Y", "one"], ["y"]),
    ]  # fmt: skip
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, I])]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(value, name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", ports, outs, held)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    made = lstm_infer.load(data)
    for steps in (3, 7, 12, 25):
        x = rng.normal(0, 1, (steps, 1, I)).astype(np.float32)
        want = onnxruntime_run(data, {"x": x})["y"]
        tolerances.like_onnxruntime(made.run({"x": x})["y"], want, f"{steps} steps")
    with pytest.raises(lstm_infer.NotStreamableError):
        made.stream()
