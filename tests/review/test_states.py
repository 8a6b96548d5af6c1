"""States of a stream: where they lie, who may read and set them, which outputs they are paired with, snapshots."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from lstm_infer.errors import FormatError, LstmInferError, ShapeError, StateError

FLOAT, INTS = TensorProto.FLOAT, TensorProto.INT32
I, H = 5, 7


def build(nodes, inputs, outputs, consts, opset=17):
    def ports(rows):
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in rows]

    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", ports(inputs), ports(outputs), weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def weights(rng, gates, inputs=I, prefix=""):
    return {
        f"{prefix}W": rng.uniform(-0.6, 0.6, (1, gates * H, inputs)).astype(np.float32),
        f"{prefix}R": rng.uniform(-0.6, 0.6, (1, gates * H, H)).astype(np.float32),
    }


def node(op, inputs, outputs, name="r", **attrs):
    return helper.make_node(op, inputs, outputs, name=name, hidden_size=H, **attrs)


def noise(rng, *shape):
    return rng.uniform(-1, 1, shape).astype(np.float32)


X = ("x", FLOAT, ["T", "B", I])
STATE = [1, "B", H]


@pytest.mark.parametrize("name", ["input", "static", "r"])
def test_node_names_do_not_meet_the_names_of_states(rng, name):
    consts = weights(rng, 4) | weights(rng, 4, H, "2") | {"one": np.array([1])}
    nodes = [
        node("LSTM", ["x", "W", "R"], ["Y"], name),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        node("LSTM", ["s", "2W", "2R", "", "", "h0"], ["Y2", "hn"], "r2"),
    ]
    outs = [("Y2", FLOAT, ["T", 1, "B", H]), ("hn", FLOAT, STATE)]
    model = lstm_infer.load(build(nodes, [X, ("h0", FLOAT, STATE)], outs, consts))
    x = noise(rng, 6, 1, I)
    whole = model.run({"x": x, "h0": np.zeros((1, 1, H), np.float32)})["Y2"]
    tolerances.exact(model.stream().run(x), whole, name)


def test_a_state_that_becomes_another_is_passed_on_before_it_changes(rng):
    """b is a one call later: the recurrence may not update a where it lies before b has it."""
    consts = weights(rng, 1) | {"zero": np.array([0])}
    nodes = [
        node("RNN", ["x", "W", "R", "", "", "a"], ["Y", "an"]),
        helper.make_node("Identity", ["a"], ["bn"]),
        helper.make_node("Add", ["an", "b"], ["y"]),
    ]
    inputs = [X, ("a", FLOAT, STATE), ("b", FLOAT, STATE)]
    outs = [("y", FLOAT, STATE), ("an", FLOAT, STATE), ("bn", FLOAT, STATE)]
    model = lstm_infer.load(build(nodes, inputs, outs, consts), states={"a": "an", "b": "bn"})
    stream, a, b = model.stream(), np.zeros((1, 1, H), np.float32), np.zeros((1, 1, H), np.float32)
    for call in range(4):
        x = noise(rng, 1, 1, I)
        want = model.run({"x": x, "a": a, "b": b})
        a, b = want["an"], want["bn"]
        tolerances.exact(stream.run(x), want["y"], f"call {call}")
        tolerances.exact(stream.state["b"], b, f"b after call {call}")


def test_states_that_change_places(rng):
    consts = weights(rng, 4)
    nodes = [node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["Y", "hn", "cn"])]
    inputs = [X, ("h", FLOAT, STATE), ("c", FLOAT, STATE)]
    outs = [("Y", FLOAT, ["T", 1, "B", H]), ("hn", FLOAT, STATE), ("cn", FLOAT, STATE)]
    model = lstm_infer.load(build(nodes, inputs, outs, consts), states={"h": "cn", "c": "hn"})
    stream, h, c = model.stream(batch=2), np.zeros((1, 2, H), np.float32), np.zeros((1, 2, H), np.float32)
    for call in range(4):
        x = noise(rng, 1, 2, I)
        want = model.run({"x": x, "h": h, "c": c})
        h, c = want["cn"], want["hn"]
        tolerances.exact(stream.run(x), want["Y"], f"call {call}")


def test_what_is_computed_from_a_side_input_alone_is_no_state(rng):
    nodes = [
        node("LSTM", ["x", "W", "R"], ["Y"]),
        helper.make_node("Mul", ["gain", "gain"], ["power"]),
        helper.make_node("Mul", ["Y", "gain"], ["y"]),
    ]
    outs = [("y", FLOAT, ["T", 1, "B", H]), ("power", FLOAT, [1])]
    model = lstm_infer.load(build(nodes, [X, ("gain", FLOAT, [1])], outs, weights(rng, 4)))
    gain = np.float32([3.0])
    stream = model.stream(inputs={"gain": gain})
    assert "gain" not in stream.state
    x = noise(rng, 4, 1, I)
    for call in range(2):
        made = stream.run(x[2 * call : 2 * call + 2])
        tolerances.exact(made["y"], model.run({"x": x, "gain": gain})["y"][2 * call : 2 * call + 2], f"call {call}")


def test_a_state_of_its_own_is_found_by_its_name(rng):
    """A phase that turns by itself: nothing else goes into its next value."""
    nodes = [
        helper.make_node("Add", ["phase", "step"], ["phase_next"]),
        helper.make_node("Add", ["x", "phase"], ["y"]),
    ]
    port = [FLOAT, ["B", 3]]
    data = build(
        nodes, [("x", *port), ("phase", *port)], [("y", *port), ("phase_next", *port)], {"step": np.float32(0.5)}
    )
    stream = lstm_infer.load(data).stream()
    zero = np.zeros((1, 3), np.float32)
    assert [float(stream.step(zero)[0, 0]) for _ in range(3)] == [0.0, 0.5, 1.0]


def state_io(rng):
    nodes = [node("LSTM", ["x", "W", "R", "", "", "h0"], ["Y", "hn"])]
    outs = [("Y", FLOAT, ["T", 1, "B", H]), ("hn", FLOAT, STATE)]
    return build(nodes, [X, ("h0", FLOAT, STATE)], outs, weights(rng, 4))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"time_axis": {"x": 3}}, ShapeError),
        ({"time_axis": {"x": -4}}, ShapeError),
        ({"states": {"h0": "Y"}}, StateError),
        ({"states": {"x": "Y"}}, StateError),
        ({"states": {"h0": "hn", "x": "hn"}}, StateError),
        ({"inputs": {"x": (-1, 1, I)}}, ShapeError),
        ({"inputs": {"x": ("T", 1, I)}}, ShapeError),
    ],
)
def test_overrides_that_cannot_be_are_refused(rng, options, error):
    with pytest.raises(error):
        lstm_infer.load(state_io(rng), **options).stream()


def test_a_negative_time_axis_counts_from_the_end(rng):
    model = lstm_infer.load(state_io(rng), time_axis={"x": -3})
    assert model.inputs[0].time_axis == 0
    assert model.stream().step(noise(rng, 1, I)).shape == (1, 1, H)


def test_states_are_set_all_or_none(rng):
    stream = lstm_infer.load(state_io(rng)).stream()
    before = dict(stream.state)
    first, second = sorted(before)
    with pytest.raises(ShapeError):
        stream.state = {first: np.ones_like(before[first]), second: np.ones((9, 9), np.float32)}
    for name, value in before.items():
        tolerances.exact(stream.state[name], value, name)


def test_a_state_is_neither_read_nor_set_while_a_call_runs(rng):
    stream = lstm_infer.load(state_io(rng)).stream()
    stream.run(noise(rng, 3, 1, I))
    held = stream.state["h0"]
    started = threading.Event()
    done: list[str] = []

    def other():
        started.wait()
        for what in (
            lambda: stream.state["h0"],
            lambda: setattr(stream, "state", {"h0": held}),
            stream.snapshot,
            stream.reset,
        ):
            try:
                what()
                done.append("went through")
            except StateError:
                done.append("refused")

    thread = threading.Thread(target=other)
    thread.start()

    def inside(now):  # what a call does
        started.set()
        thread.join()
        return None, now

    stream._alone(inside)
    assert done == ["refused"] * 4
    tolerances.exact(stream.state["h0"], held)


def test_a_snapshot_of_another_activation_is_refused(rng):
    consts = weights(rng, 4)
    outs = [("Y", FLOAT, ["T", 1, "B", H])]

    def stream(**attrs):
        return lstm_infer.load(build([node("LSTM", ["x", "W", "R"], ["Y"], **attrs)], [X], outs, consts)).stream()

    snapshot = stream().snapshot()
    stream().restore(snapshot)
    with pytest.raises(FormatError, match="another model"):
        stream(activations=["Sigmoid", "Tanh", "Relu"]).restore(snapshot)


def with_gain(rng):
    nodes = [node("LSTM", ["x", "W", "R"], ["Y"]), helper.make_node("Mul", ["Y", "gain"], ["y"])]
    return build(nodes, [X, ("gain", FLOAT, [1])], [("y", FLOAT, ["T", 1, "B", H])], weights(rng, 4))


def test_a_snapshot_does_not_bring_other_side_inputs(rng):
    model = lstm_infer.load(with_gain(rng))
    one, two = (model.stream(inputs={"gain": np.float32([g])}) for g in (1.0, 2.0))
    with pytest.raises(FormatError):
        two.restore(one.snapshot())
    again = model.stream(inputs={"gain": np.float32([1.0])})
    again.restore(one.snapshot())


def test_rows_are_reset_with_what_is_left_of_their_lengths(rng):
    nodes = [node("LSTM", ["x", "W", "R", "", "lens"], ["Y"])]
    data = build(nodes, [X, ("lens", INTS, ["B"])], [("Y", FLOAT, ["T", 1, "B", H])], weights(rng, 4))
    stream = lstm_infer.load(data).stream(batch=2, inputs={"lens": np.int32([2, 2])})
    x = noise(rng, 2, 2, I)
    first = stream.run(x)
    stream.reset(rows=[1])
    again = stream.run(x)
    tolerances.exact(again[:, :, 1], first[:, :, 1], "the row that was reset")
    assert not again[:, :, 0].any(), "the other one had ended"


def test_time_and_batch_are_found_behind_a_dropped_axis(rng):
    """Squeeze of a batch of one and Unsqueeze elsewhere: time is still the axis it was."""
    consts = weights(rng, 4) | {"zero": np.array([0]), "one": np.array([1])}
    nodes = [
        helper.make_node("Squeeze", ["x", "zero"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "one"], ["u"]),
        node("LSTM", ["u", "W", "R"], ["Y"]),
    ]
    model = lstm_infer.load(build(nodes, [("x", FLOAT, [1, "T", I])], [("Y", FLOAT, ["T", 1, 1, H])], consts))
    assert model.inputs[0].time_axis == 1
    x = noise(rng, 1, 5, I)
    stream = model.stream()
    parts = [stream.run(np.ascontiguousarray(x[:, a:b])) for a, b in ((0, 2), (2, 5))]
    tolerances.exact(np.concatenate(parts), model.run({"x": x})["Y"])


def test_refusals_are_ours_and_quiet(rng):
    """No warning where nothing was guessed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lstm_infer.load(state_io(rng)).stream()
        with pytest.raises(LstmInferError):
            lstm_infer.load(state_io(rng), states={"h0": "nobody"})


def test_an_axis_that_a_recurrence_runs_over_is_no_batch(rng):
    """One LSTM over the bands of a frame, one over the frames: the bands are not signals in lockstep."""
    bands = 9
    consts = weights(rng, 4, 1) | weights(rng, 4, H, "2") | {"two": np.array([2]), "one": np.array([1])}
    nodes = [
        helper.make_node("Unsqueeze", ["x", "two"], ["u"]),
        helper.make_node("Transpose", ["u"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "W", "R"], ["Y"], "bands"),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("Transpose", ["s"], ["s2"], perm=[1, 0, 2]),
        node("LSTM", ["s2", "2W", "2R"], ["Z"], "frames"),
    ]
    data = build(nodes, [("x", FLOAT, ["T", bands])], [("Z", FLOAT, ["T", 1, bands, H])], consts)
    model = lstm_infer.load(data, time_axis={"x": 0})
    assert model.inputs[0].batch_axis is None
    stream, x = model.stream(), noise(rng, 8, bands)
    parts = [stream.run(x[a:b]) for a, b in ((0, 3), (3, 4), (4, 8))]
    tolerances.exact(np.concatenate(parts), model.run({"x": x})["Z"])
    with pytest.raises(LstmInferError):
        model.stream(batch=2)


@pytest.mark.parametrize("hiding", ["chosen", "added"])
def test_a_mask_in_front_of_a_softmax_is_no_state(rng, hiding):
    """A mask of the shape of the probabilities is fed at every step, whatever the values are called."""
    N = 4
    make = helper.make_node
    nodes = [
        make("MatMul", ["u", "W"], ["a"]),
        make("MatMul", ["v", "R"], ["b"]),
        make("Add", ["a", "b"], ["z"]),
        make("Tanh", ["z"], ["k"]),
        make("MatMul", ["k", "V"], ["scores"]),
    ]
    if hiding == "chosen":
        nodes += [make("Greater", ["m", "half"], ["hide"]), make("Where", ["hide", "low", "scores"], ["seen"])]
    else:
        nodes += [make("Mul", ["m", "low"], ["bias"]), make("Add", ["scores", "bias"], ["seen"])]
    nodes.append(make("Softmax", ["seen"], ["p"], axis=-1))
    consts = {"W": noise(rng, I, H), "R": noise(rng, H, H), "V": noise(rng, H, N)}
    consts |= {"half": np.float32(0.5), "low": np.float32(-1e9)}
    inputs = [("u", FLOAT, ["B", I]), ("v", FLOAT, ["B", H]), ("m", FLOAT, ["B", N])]
    outputs = [("p", FLOAT, ["B", N]), ("k", FLOAT, ["B", H])]
    model = lstm_infer.load(build(nodes, inputs, outputs, consts))
    assert {state.name: state.output for state in model.states} == {"v": "k"}
    stream, state = model.stream(2), np.zeros((2, H), np.float32)
    for _ in range(3):
        feeds = {"u": noise(rng, 2, I), "m": np.array([[0, 1, 0, 0], [1, 0, 0, 1]], np.float32)}
        want = model.run(feeds | {"v": state})
        tolerances.exact(stream.step(feeds)["p"], want["p"], hiding)
        state = want["k"]
        tolerances.exact(stream.state["v"], state, hiding)
