"""Nodes that make several positions of each step: transposed convolutions as wide as their stride, and steps that are repeated.
A stream gives all positions of a step with it; what knows the end, or counts the steps of the example, is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from engine import onnxruntime_run

H, T, B = 5, 17, 2


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(-1, 1, shape).astype(np.float32)


def build(middle, y, first=(), steps="T", **weights):
    """x [B, 3, T], nodes `first` from "x" to "f", a GRU, and nodes `middle` from "u" [B, H, T] to "y" of shape `y`."""
    start = "f" if first else "x"
    nodes = [
        *first,
        helper.make_node("Transpose", [start], ["t"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["t", "W", "R"], ["Y"], name="rec", hidden_size=H),
        helper.make_node("Squeeze", ["Y", "ax1"], ["h"]),
        helper.make_node("Transpose", ["h"], ["u"], perm=[1, 2, 0]),
        *middle,
    ]
    consts = {"W": draw(1, 3 * H, 3), "R": draw(1, 3 * H, H), "ax1": np.array([1]), **weights}
    used = {v for node in nodes for v in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [B if steps != "T" else "B", 3, steps])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in consts.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def up(source="u", to="y", kernel=3, **attrs):
    return helper.make_node("ConvTranspose", [source, "K"], [to], name="up", strides=[kernel], **attrs)


def nearest(source="u", to="y", mode="nearest", **attrs):
    return helper.make_node("Resize", [source, "", "scales"], [to], name="near", mode=mode, **attrs)


def sized():
    """Resize to three times the steps of x, as a number that the graph computes."""
    return [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["steps"]),
        helper.make_node("Mul", ["steps", "three"], ["long"]),
        helper.make_node("Shape", ["u"], ["whole"]),
        helper.make_node("Slice", ["whole", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["front", "long"], ["sizes"], axis=0),
        helper.make_node("Resize", ["u", "", "", "sizes"], ["y"], name="near", coordinate_transformation_mode="asymmetric",
                         nearest_mode="floor"),
    ]  # fmt: skip


NUMBERS = {"zero": np.array([0]), "two": np.array([2]), "three": np.array([3])}
SCALES = {"scales": np.float32([1, 1, 3])}
KERNEL = {"K": draw(H, 4, 3)}
AHEAD = [helper.make_node("Conv", ["x", "C"], ["f"], name="ahead", pads=[1, 1])]
SLOW = [helper.make_node("Conv", ["x", "C"], ["f"], name="slow", strides=[2])]
LATER = [
    helper.make_node("Transpose", ["v"], ["vt"], perm=[2, 0, 1]),
    helper.make_node("GRU", ["vt", "W4", "R"], ["Y2"], name="later", hidden_size=H),
    helper.make_node("Squeeze", ["Y2", "ax1"], ["y"]),
]
CASES = {
    "as wide as its stride": (build([up()], ["B", 4, None], **KERNEL), 2, 3, {"lag": 0, "rate": 1}),
    "narrower": (build([up(kernel=4, output_padding=[1])], ["B", 4, None], **KERNEL), 2, 4, {"lag": 0, "rate": 1}),
    "behind a window": (build([up()], ["B", 4, None], AHEAD, C=draw(3, 3, 3), **KERNEL), 2, 3, {"lag": 1, "rate": 1}),
    "behind a stride": (build([up()], ["B", 4, None], SLOW, C=draw(3, 3, 2), **KERNEL), 2, 3, {"lag": 1, "rate": 2}),
    "repeated": (build([nearest()], ["B", H, None], **SCALES), 2, 3, {"lag": 0, "rate": 1}),
    "repeated behind a window": (
        build([nearest()], ["B", H, None], AHEAD, C=draw(3, 3, 3), **SCALES), 2, 3, {"lag": 1, "rate": 1}),
    "repeated to a size": (build(sized(), ["B", H, None], **NUMBERS), 2, 3, {"lag": 0, "rate": 1}),
    "a recurrence over all of them": (
        build([up(to="v"), *LATER], [None, "B", H], W4=draw(1, 3 * H, 4), **KERNEL), 0, 3, {"lag": 0, "rate": 1}),
    "beside others that are late": (
        build([helper.make_node("Conv", ["u", "C5"], ["a"], pads=[1, 1]), up("a", "b"), nearest(to="c"),
               helper.make_node("Concat", ["b", "c"], ["y"], axis=1)],
              ["B", 4 + H, None], C5=draw(H, H, 3), **KERNEL, **SCALES),
        2, 3, {"lag": 1, "rate": 1}),
    "their sum": (
        build([up(to="v"), helper.make_node("CumSum", ["v", "axis"], ["y"])], ["B", 4, None], axis=np.array(2), **KERNEL),
        2, 3, {"lag": 0, "rate": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pieces_equal_the_whole(case):
    data, axis, each, wanted = CASES[case]
    model, x = lstm_infer.load(data), draw(B, 3, T)
    whole = model.run({"x": x})["y"]
    tolerances.like_onnxruntime(whole, onnxruntime_run(data, {"x": x})["y"], case)
    for cuts in ([], list(range(1, T)), [3, 4, 11], [1, 16]):
        stream = model.stream(batch=B)
        assert {name: getattr(model.streaming, name) for name in wanted} == wanted
        parts = [stream.run(np.ascontiguousarray(part)) for part in np.split(x, cuts, 2)]
        tolerances.exact(np.concatenate([*parts, stream.flush()], axis), whole, f"cut at {cuts}")
        if wanted["lag"] == 0:
            assert [part.shape[axis] for part in parts] == [each * n for n in np.diff([0, *cuts, T])]


def test_a_step_gives_all_its_positions():
    data, _, each, _ = CASES["as wide as its stride"]
    model, x = lstm_infer.load(data), draw(1, 3, T)
    stream, whole = model.stream(), model.run({"x": x})["y"]
    for t in range(T):
        got = stream.step(np.ascontiguousarray(x[:, :, t]))
        tolerances.exact(got, whole[:, :, each * t : each * (t + 1)], f"step {t}")


@pytest.mark.parametrize(
    "nodes, weights, name, why",
    [
        ([up(kernel=2)], KERNEL, "up", "over its neighbours"),
        ([up(pads=[1, 0])], KERNEL, "up", "over its neighbours"),
        ([nearest(mode="linear")], SCALES, "near", "resamples time"),
        ([nearest()], {"scales": np.float32([1, 1, 1.5])}, "near", "resamples time"),
        (
            [up(to="v"), helper.make_node("Conv", ["v", "K4"], ["y"], name="over")],
            {**KERNEL, "K4": draw(4, 4, 3)},
            "over",
            "several positions for each step",
        ),
    ],
    ids=["overlapping", "cut off", "linear", "one and a half", "a window over them"],
)
def test_what_is_refused_is_refused_by_name(nodes, weights, name, why):
    model = lstm_infer.load(build(nodes, None, **weights))
    with pytest.raises(lstm_infer.NotStreamableError, match=why) as caught:
        model.stream()
    assert caught.value.node == name


def test_a_size_of_steps_that_are_not_there_yet_is_refused():
    model = lstm_infer.load(build(sized(), ["B", H, None], AHEAD, C=draw(3, 3, 3), **NUMBERS))
    with pytest.raises(lstm_infer.NotStreamableError, match="not every step is there yet") as caught:
        model.stream()
    assert caught.value.node == "near"


@pytest.mark.parametrize("size", [8, 24, 4])
def test_a_size_that_may_count_the_steps_of_the_example_holds(size):
    """At another length the answer would have as many positions, each of another step."""
    node = helper.make_node("Resize", ["u", "", "", "sizes"], ["y"], name="near")
    data = build([node], None, steps=8, sizes=np.array([B, H, size]))
    model, x = lstm_infer.load(data), draw(B, 3, 8)
    tolerances.like_onnxruntime(model.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], "as the file declares")
    with pytest.raises(lstm_infer.errors.ShapeError, match="near"):
        model.run({"x": draw(B, 3, 5)})


def test_as_many_last_steps_as_windows_leave_of_the_example_hold():
    """Skips cut to what the last window has (`x[:, :, -n:]`), where n was the example's."""

    def net(n, steps):
        nodes = [
            helper.make_node("Conv", ["u", "C5"], ["a"], name="first"),
            helper.make_node("Conv", ["a", "C5"], ["b"], name="second"),
            helper.make_node("Slice", ["a", "start", "end", "axis"], ["skip"], name="cut"),
            helper.make_node("Slice", ["b", "start", "end", "axis"], ["rest"], name="other"),
            helper.make_node("Add", ["skip", "rest"], ["sum"]),
            helper.make_node("ReduceMean", ["sum"], ["y"], axes=[2]),
        ]
        ends = {"start": np.array([-n]), "end": np.array([1 << 40]), "axis": np.array([2])}
        return build(nodes, None, steps=steps, C5=draw(H, H, 3), **ends)

    data = net(4, 8)
    model, x = lstm_infer.load(data), draw(B, 3, 8)
    tolerances.like_onnxruntime(model.run({"x": x})["y"], onnxruntime_run(data, {"x": x})["y"], "as the file declares")
    with pytest.raises(lstm_infer.errors.ShapeError, match="cut"):
        model.run({"x": draw(B, 3, 11)})
    # no window leaves two: a number of the model's own
    own, x = lstm_infer.load(net(2, 8)), draw(B, 3, 11)
    tolerances.like_onnxruntime(own.run({"x": x})["y"], onnxruntime_run(net(2, 11), {"x": x})["y"], "its own number")


@pytest.mark.parametrize(
    "start, end, said",
    [
        (-4, 1 << 40, "takes the last 4 steps of the sequence, which are known when it has ended"),
        (-3, -2, "takes step -3, counted from the end, of the sequence"),
        (-3, -1, "takes the steps -3 to -2, counted from the end, of the sequence"),
        (0, 1, "takes step 0 of the sequence alone"),
        (2, 5, "takes steps 2 to 4 of the sequence alone"),
    ],
)
def test_a_part_of_the_sequence_is_named(start, end, said):
    nodes = [
        helper.make_node("Slice", ["u", "start", "end", "axis"], ["part"], name="cut"),
        helper.make_node("ReduceSum", ["part", "axis"], ["y"], keepdims=0),
    ]
    data = build(nodes, None, start=np.array([start]), end=np.array([end]), axis=np.array([2]))
    with pytest.raises(lstm_infer.NotStreamableError, match=said) as caught:
        lstm_infer.load(data).stream()
    assert caught.value.node == "cut"


@pytest.mark.parametrize("at", [3, -4])
def test_a_step_that_is_picked_is_named(at):
    said = "takes step 3 of the sequence alone" if at > 0 else "takes step -4, counted from the end, of the sequence"
    nodes = [helper.make_node("Gather", ["u", "at"], ["y"], axis=2, name="pick")]
    with pytest.raises(lstm_infer.NotStreamableError, match=f"'pick' .* {said}"):
        lstm_infer.load(build(nodes, None, at=np.array(at))).stream()


def test_a_file_of_one_length_names_the_node_that_holds_it():
    counts = np.arange(1, 8, dtype=np.float32)
    nodes = [
        helper.make_node("CumSum", ["u", "axis"], ["sum"]),
        helper.make_node("Div", ["sum", "counts"], ["y"], name="mean"),
    ]
    model = lstm_infer.load(build(nodes, None, steps=7, axis=np.array(2), counts=counts))
    with pytest.raises(
        lstm_infer.NotStreamableError, match=r"fixed to 7 time steps and does not fit 8: .*'mean'"
    ) as caught:
        model.stream()
    assert (caught.value.node, caught.value.op) == ("mean", "Div")


def test_two_time_axes_of_one_input_promise_no_binding():
    """A recurrence over the bands of each frame, and one over the frames of what it gives: the caller says which is time."""
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("Transpose", ["r"], ["rt"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["rt", "W1", "R"], ["Y1"], name="bands", hidden_size=H),
        helper.make_node("Squeeze", ["Y1", "ax1"], ["s"]),
        helper.make_node("Transpose", ["s"], ["st"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["st", "wide"], ["w"]),
        helper.make_node("GRU", ["w", "W15", "R"], ["Y2"], name="frames", hidden_size=H),
        helper.make_node("Squeeze", ["Y2", "ax1"], ["y"]),
    ]
    consts = {"rows": [-1, 3, 1], "wide": [-1, 1, 3 * H], "ax1": [1], "W1": draw(1, 3 * H, 1), "R": draw(1, 3 * H, H),
              "W15": draw(1, 3 * H, 3 * H)}  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "T", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in consts.items()],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(lstm_infer.NotStreamableError, match="2 independent time axes") as caught:
        lstm_infer.load(data).stream()
    assert "stream(inputs=)" not in str(caught.value)
    model, x = lstm_infer.load(data, time_axis={"x": 1}), draw(1, T, 3)
    whole = model.run({"x": x})["y"]
    tolerances.like_onnxruntime(whole, onnxruntime_run(data, {"x": x})["y"], "whole")
    stream = model.stream()
    tolerances.exact(np.concatenate([stream.run(part) for part in np.split(x, [1, 5], 1)]), whole, "in pieces")
