"""Time that shares an axis with another: carried, given out in the order of the whole run, or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

I, H, T = 3, 4, 7
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def n(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def build(nodes, shapes, outputs, *, op="LSTM", ints=(), floats=(), states=None):
    """A model over x (and more inputs); weights W, R for I inputs, W2, R2 for H, `floats`: shapes of constants."""
    rng = np.random.default_rng(1)
    consts = {name: np.array(value, np.int64) for name, value in ints}
    for suffix, width in (("", I), ("2", H)):
        consts[f"W{suffix}"] = rng.uniform(-0.7, 0.7, (1, GATES[op] * H, width)).astype(np.float32)
        consts[f"R{suffix}"] = rng.uniform(-0.7, 0.7, (1, GATES[op] * H, H)).astype(np.float32)
    consts |= {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in floats}
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in rows]
        for rows in (shapes, outputs)
    ]
    held = [numpy_helper.from_array(value, name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", *ports, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(made.SerializeToString(), states=states)


def check(model, x, axis, out_axis, batch=1):
    """A stream gives what the whole run gives, cut anywhere."""
    whole = model.run({"x": x})["y"]
    stream = model.stream(batch)
    for cuts in ([T], [1] * T, [2, T - 2]):
        stream.reset()
        parts = np.split(x, np.cumsum(cuts)[:-1], axis)
        got = np.concatenate([stream.run(np.ascontiguousarray(part)) for part in parts], out_axis)
        tolerances.exact(got, whole, f"cut into {cuts}")


def signal(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("shape", [["T", "B", I], ["T", 1, I], [T, 1, I]])
def test_a_second_recurrence_over_rows(op, shape):
    nodes = [n(op, ["x", "W", "R"], ["a"], hidden_size=H), n("Squeeze", ["a", "one"], ["s"]),
             n("Reshape", ["s", "rows"], ["q"]), n(op, ["q", "W2", "R2"], ["b"], hidden_size=H),
             n("Squeeze", ["b", "one"], ["y"])]  # fmt: skip
    model = build(nodes, [("x", shape)], [("y", [None, 1, H])], op=op, ints=[("one", [1]), ("rows", [-1, 1, H])])
    assert {s.name.rsplit("_", 1)[0] for s in model.states} == {op}
    assert len(model.states) == 2 * (2 if op == "LSTM" else 1)
    check(model, signal(T, 1, I), 0, 0)
    if shape[1] == "B":  # where the file says 1, the 1 of the rows is opened
        with pytest.raises(lstm_infer.StateError):
            model.stream(2)


def test_a_recurrence_over_the_parts_of_each_step():
    """Time is the outermost factor: the second recurrence goes on from step to step."""
    nodes = [n("RNN", ["x", "W", "R"], ["a"], hidden_size=H), n("Reshape", ["a", "halves"], ["q"]),
             n("RNN", ["q", "W3", "R2"], ["b"], hidden_size=H), n("Reshape", ["b", "steps"], ["y"])]  # fmt: skip
    model = build(
        nodes, [("x", ["T", 1, I])], [("y", [None, 1, 2 * H])], op="RNN", floats=[("W3", (1, H, H // 2))],
        ints=[("halves", [-1, 1, H // 2]), ("steps", [-1, 1, 2 * H])],
    )  # fmt: skip
    check(model, signal(T, 1, I), 0, 0)


def rows(shape, target, perm=None):
    """Batch first, and the rows of all signals below each other."""
    nodes = [n("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), n("LSTM", ["xt", "W", "R"], ["a"], hidden_size=H),
             n("Squeeze", ["a", "one"], ["s"]), n("Transpose", ["s"], ["p"], perm=perm or [1, 0, 2]),
             n("Reshape", ["p", "to"], ["y"])]  # fmt: skip
    return build(nodes, [("x", shape)], [("y", [None] * len(target))], ints=[("one", [1]), ("to", target)])


def test_rows_of_a_batch_are_given_one_signal_at_a_time():
    model = rows(["B", "T", I], [-1, H])
    check(model, signal(1, T, I), 1, 0)
    with pytest.raises(lstm_infer.StateError, match="2 streams of one signal"):
        model.stream(2)


def test_what_mixes_is_named_not_what_comes_behind_it():
    nodes = [n("LSTM", ["x", "W", "R"], ["a"], hidden_size=H), n("Squeeze", ["a", "one"], ["s"]),
             n("Transpose", ["s"], ["t"], perm=[1, 0, 2]), n("Reshape", ["t", "to"], ["rows"]),
             n("Tanh", ["rows"], ["z"]), n("Neg", ["z"], ["y"])]  # fmt: skip
    model = build(nodes, [("x", ["T", "B", I])], [("y", [None, H])], ints=[("one", [1]), ("to", [-1, H])])
    with pytest.raises(lstm_infer.StateError, match="node 'Reshape_3' lays output 'y' along"):
        model.stream(2)


def test_rows_of_a_file_of_two_signals_are_refused():
    model = rows([2, "T", I], [-1, H])
    with pytest.raises(lstm_infer.LstmInferError, match=r"mixed with another|batch"):
        model.stream(2).run(signal(2, T, I))


def test_time_inside_of_features_is_refused():
    model = rows(["B", "T", I], [1, -1], perm=[1, 2, 0])
    with pytest.raises(lstm_infer.NotStreamableError, match="lays output 'y' along an axis in which time is mixed"):
        model.stream()
    with pytest.raises(lstm_infer.NotStreamableError):
        _ = model.streaming
    assert "streams: no" in model.summary()


def test_rows_of_steps_far_apart_are_refused():
    """Each row is a third of the sequence."""
    nodes = [n("LSTM", ["x", "W", "R"], ["a"], hidden_size=H), n("Reshape", ["x", "thirds"], ["y"], name="fold")]
    model = build(nodes, [("x", ["T", 1, I])], [("a", None), ("y", [3, None])], ints=[("thirds", [3, -1])])
    with pytest.raises(lstm_infer.NotStreamableError, match=r"node 'fold'.*mixes time with another axis"):
        model.stream()


def test_time_outside_of_features_is_given_in_order():
    check(rows(["B", "T", I], [1, -1]), signal(1, T, I), 1, 1)


def test_two_orders_of_rows_that_meet():
    """[T, B] and [B, T] rows, added: right for one signal, refused for two."""
    nodes = [n("LSTM", ["x", "W", "R"], ["a"], hidden_size=H), n("Squeeze", ["a", "one"], ["s"]),
             n("Reshape", ["s", "to"], ["p"]), n("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
             n("Reshape", ["t", "to"], ["q"]), n("Add", ["p", "q"], ["y"])]  # fmt: skip
    model = build(nodes, [("x", ["T", "B", I])], [("y", [None, H])], ints=[("one", [1]), ("to", [-1, H])])
    check(model, signal(T, 1, I), 0, 0)
    with pytest.raises(lstm_infer.StateError):
        model.stream(2)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("where", ["steps", "last"])
def test_the_state_that_the_call_began_with(op, where):
    """Read beside its recurrence: pieces cannot equal the whole."""
    states = ["h", "c"][: 2 if op == "LSTM" else 1]
    outs = ["a", *(f"{s}n" for s in states)]
    read = [n("Squeeze", ["a", "one"], ["s"]), n("Add", ["s", "h"], ["y"])] if where == "steps" else [
        n("Sub", ["hn", "h"], ["y"])]  # fmt: skip
    nodes = [n(op, ["x", "W", "R", "", "", *states], outs, hidden_size=H), *read]
    held = [(s, [1, "B", H]) for s in states]
    after = [(f"{s}n", shape) for s, shape in held]
    ports = [("x", ["T", "B", I]), *held], [("y", [None, None, H]), *after]
    model = build(nodes, *ports, op=op, ints=[("one", [1])], states={s: f"{s}n" for s in states})
    if where == "last":  # done once a call: every step is one
        assert model.streaming.mode == "loop"
        return
    with pytest.raises(lstm_infer.NotStreamableError, match=r"the state that the call began with \('h'\)"):
        model.stream()


def test_a_frame_whose_samples_look_like_time():
    """The message says what helps, and it does."""
    nodes = [n("Conv", ["x", "K"], ["f"], strides=[2]), n("Transpose", ["f"], ["t"], perm=[2, 0, 1]),
             n("LSTM", ["t", "W", "R", "", "", "h", "c"], ["a", "hn", "cn"], hidden_size=H),
             n("ReduceMean", ["a"], ["y"], axes=[0, 1], keepdims=0)]  # fmt: skip
    held = [("h", [1, "B", H]), ("c", [1, "B", H])]
    args = nodes, [("x", ["B", 1, "n"]), *held], [("y", [None, H]), ("hn", [1, None, H]), ("cn", [1, None, H])]
    model = build(*args, floats=[("K", (I, 1, 4))])
    with pytest.raises(lstm_infer.NotStreamableError, match=r"load\(\.\.\., time_axis=\{\}\)"):
        model.stream()


@pytest.mark.parametrize("kind", ["CumSum", "Conv"])
def test_a_memory_without_a_recurrence(kind):
    """The message says where time may be."""
    nodes = [n("CumSum", ["x", "axis"], ["y"])] if kind == "CumSum" else [n("Conv", ["x", "K"], ["y"], pads=[3, 0])]
    model = build(
        nodes, [("x", ["B", I, "T"])], [("y", [None, I, None])], ints=[("axis", 2)], floats=[("K", (I, I, 4))]
    )
    with pytest.raises(lstm_infer.NotStreamableError, match=r"time_axis=\{'x': 2\}"):
        model.stream()


@pytest.mark.parametrize("how", ["Slice", "Gather", "ReverseSequence"])
def test_both_directions_as_two_layers(how):
    turn = {
        "Slice": [n("Slice", ["x", "last", "first", "axis", "back"], ["r"])],
        "Gather": [n("Shape", ["x"], ["sh"]), n("Gather", ["sh", "zero"], ["len"]), n("Sub", ["len", "one0"], ["top"]),
                   n("Range", ["top", "minus", "minus"], ["order"]), n("Gather", ["x", "order"], ["r"])],
        "ReverseSequence": [n("ReverseSequence", ["x", "lens"], ["r"], time_axis=0, batch_axis=1)],
    }[how]  # fmt: skip
    nodes = [n("LSTM", ["x", "W", "R"], ["a"], hidden_size=H), *turn, n("LSTM", ["r", "W", "R"], ["b"], hidden_size=H),
             n("Concat", ["a", "b"], ["y"], axis=1)]  # fmt: skip
    ints = [("last", [-1]), ("first", [-(2**62)]), ("axis", [0]), ("back", [-1]), ("zero", 0), ("one0", 1), ("minus", -1),
            ("lens", [T])]  # fmt: skip
    shape = [T, 1, I] if how == "ReverseSequence" else ["T", 1, I]
    model = build(nodes, [("x", shape)], [("y", [None, 2, 1, H])], ints=ints)
    with pytest.raises(lstm_infer.NotStreamableError, match="bidirectional"):
        model.stream()


@pytest.mark.parametrize("steps", [5, 3])
def test_two_time_bases_in_a_fixed_ratio(steps):
    """Samples and frames: the whole run is right, a stream is refused by name."""
    nodes = [n("Conv", ["a", "K"], ["f"], strides=[4]), n("Transpose", ["f"], ["t"], perm=[2, 0, 1]),
             n("Add", ["t", "b"], ["q"]), n("LSTM", ["q", "W", "R"], ["y"], hidden_size=H)]  # fmt: skip
    shapes = [("a", [1, 1, 4 * steps]), ("b", [steps, 1, I])]
    model = build(nodes, shapes, [("y", [None, 1, 1, H])], floats=[("K", (I, 1, 4))])
    assert model.run({"a": signal(1, 1, 4 * steps), "b": signal(steps, 1, I)})["y"].shape == (steps, 1, 1, H)
    with pytest.raises(lstm_infer.NotStreamableError, match=r"fixed ratio, 4 of 'a' \(axis 2\) to 1 of 'b'"):
        model.stream()


def test_two_inputs_of_one_time_base():
    nodes = [
        n("Add", ["x", "u"], ["q"]),
        n("LSTM", ["q", "W", "R"], ["a"], hidden_size=H),
        n("Squeeze", ["a", "one"], ["y"]),
    ]
    ports = [("x", ["T", "B", I]), ("u", ["S", "B", I])], [("y", [None, None, H])]
    model = build(nodes, *ports, ints=[("one", [1])])
    assert model.streaming.inputs == ("x", "u")
    x, u = signal(T, 2, I), signal(T, 2, I)[::-1].copy()
    tolerances.exact(model.stream(2).run({"x": x, "u": u})["y"], model.run({"x": x, "u": u})["y"])


@pytest.mark.parametrize("how", ["Expand", "Tile"])
@pytest.mark.parametrize("count", [5, 9, None])
def test_a_code_that_is_repeated(how, count):
    """As often as the sequence is long: refused. A number of times that is the model's own: once, at the end."""
    last = [n("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=H)]
    if count is None:
        last += [n("Shape", ["x"], ["sh"], end=1), n("Concat", ["sh", "ones"], ["to"], axis=0)]
    nodes = [*last, n(how, ["h", "to"], ["z"]), n("LSTM", ["z", "W2", "R2"], ["a"], hidden_size=H),
             n("Squeeze", ["a", "one"], ["y"])]  # fmt: skip
    ints = [("one", [1]), ("ones", [1, 1])] + ([] if count is None else [("to", [count, 1, 1])])
    x = [5 if count == 5 else "T", 1, I]
    model = build(nodes, [("x", x)], [("y", [None, 1, H])], ints=ints)
    if count == 9:
        whole = model.run({"x": signal(T, 1, I)})["y"]
        tolerances.exact(model.stream().run(signal(T, 1, I)), whole)
        return
    with pytest.raises(lstm_infer.NotStreamableError, match=r"repeats a value from the end|fixed to 5 time steps"):
        model.stream()


def test_a_sum_over_rows():
    """The signals of a batch lie in the axis that is summed: right for one, refused for two."""
    nodes = [
        n("RNN", ["x", "W", "R"], ["a"], hidden_size=H),
        n("Reshape", ["a", "rows"], ["q"]),
        n("CumSum", ["q", "zero"], ["y"]),
    ]
    model = build(nodes, [("x", ["T", "B", I])], [("y", [None, H])], op="RNN", ints=[("rows", [-1, H]), ("zero", 0)])
    check(model, signal(T, 1, I), 0, 0)
    with pytest.raises(lstm_infer.StateError):
        model.stream(2)


@pytest.mark.parametrize(("target", "batch_first"), [([3, -1, 2], True), ([3, -1], True), ([3, 2, -1], False)])
def test_three_rows_of_the_model_are_not_three_signals(target, batch_first):
    """A 3 in a Reshape means the same at every batch, also at the one at which a model is analysed."""
    rng = np.random.default_rng(4)
    weights = {
        "W": rng.uniform(-0.6, 0.6, (1, 18, 4)).astype(np.float32),
        "R": rng.uniform(-0.6, 0.6, (1, 18, 6)).astype(np.float32),
        "one": np.array([1]),
        "target": np.array(target),
    }
    turn = [helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2])] if batch_first else []
    back = [helper.make_node("Transpose", ["s"], ["st"], perm=[1, 0, 2])] if batch_first else []
    nodes = [
        *turn,
        helper.make_node("GRU", ["xt" if batch_first else "x", "W", "R"], ["Y"], hidden_size=6),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        *back,
        helper.make_node("Reshape", ["st" if batch_first else "s", "target"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", 4] if batch_first else ["T", "B", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = lstm_infer.load(data)
    for batch in (1, 2, 3):
        x = rng.uniform(-1, 1, (batch, 6, 4) if batch_first else (6, batch, 4)).astype(np.float32)
        axis = 1 if batch_first else 0
        try:
            whole, stream = model.run({"x": x})["y"], model.stream(batch)
        except lstm_infer.LstmInferError:
            continue
        parts = [stream.run(np.take(x, range(a, b), axis)) for a, b in ((0, 2), (2, 6))]
        out = next(port.time_axis for port in model.outputs)
        np.testing.assert_array_equal(np.concatenate(parts, out), whole, f"{batch} signals")
