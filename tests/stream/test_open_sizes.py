"""Sizes that a file leaves open, found in its weights and constants through whatever stands between."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from lstm_infer.analysis.sizes import START
from lstm_infer.errors import ShapeError

F, H = 40, 8
R = np.random.default_rng(0)


def weights(*shape):
    return (R.standard_normal(shape) * 0.3).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def model(nodes, inputs, consts, outputs=("Y",), opset=17, dtype=TensorProto.FLOAT):
    """A model of (op, inputs, outputs, attributes), open axes given by name."""
    made = [
        helper.make_node(op, ins.split(), outs.split(), domain=attrs.pop("domain", ""), **attrs)
        for op, ins, outs, attrs in nodes
    ]
    ports = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(made, "g", ports, outs, [numpy_helper.from_array(a, n) for n, a in consts.items()])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


RNN = {"W": weights(1, H, F), "R": weights(1, H, H)}
LSTM = {"W": weights(1, 4 * H, F), "R": weights(1, 4 * H, H)}


def rnn(x="u", W="W", Rn="R", y="Y"):
    return ("RNN", f"{x} {W} {Rn}", y, {"hidden_size": H})


X = {"x": ["T", "B", "F"]}
CASES = {
    "straight": ([rnn("x")], X, RNN, F),
    "unsqueeze": ([("Unsqueeze", "x a", "u", {}), rnn()], {"x": ["T", "F"]}, {**RNN, "a": ints(1)}, F),
    "transpose": ([("Transpose", "x", "u", {"perm": [1, 0, 2]}), rnn()], {"x": ["B", "T", "F"]}, RNN, F),
    "scaled": ([("Mul", "x k", "u", {}), rnn()], X, {**RNN, "k": np.float32(2)}, F),
    "conv over time": (
        [("Conv", "x K", "v", {}), ("Transpose", "v", "u", {"perm": [2, 0, 1]}), rnn()],
        {"x": ["B", "F", "T"]}, {**RNN, "K": weights(F, F, 3)}, F,
    ),
    "grouped conv": (
        [("Conv", "x K", "v", {"group": 4}), ("Transpose", "v", "u", {"perm": [2, 0, 1]}), rnn()],
        {"x": ["B", "F", "T"]}, {**RNN, "K": weights(F, F // 4, 1)}, F,
    ),
    "conv over frequency": (
        [("Unsqueeze", "x a", "u1", {}), ("Conv", "u1 K", "v", {"strides": [1, 2]}),
         ("Transpose", "v", "w", {"perm": [2, 0, 1, 3]}), ("Reshape", "w s", "u", {}), rnn()],
        {"x": ["B", "T", "F"]}, {**RNN, "K": weights(2, 1, 1, 3), "a": ints(1), "s": ints(0, 0, -1)}, 41,
    ),
    "pooled frequency": (
        [("Unsqueeze", "x a", "u1", {}), ("MaxPool", "u1", "v", {"kernel_shape": [1, 2], "strides": [1, 2]}),
         ("Squeeze", "v a", "w", {}), ("Transpose", "w", "u", {"perm": [1, 0, 2]}), rnn()],
        {"x": ["B", "T", "F"]}, {**RNN, "a": ints(1)}, 80,
    ),
    "layer norm": (
        [("LayerNormalization", "x g b", "u", {}), rnn()], X, {**RNN, "g": weights(F), "b": weights(F)}, F,
    ),
    "batch norm": (
        [("BatchNormalization", "x g b m v", "w", {}), ("Transpose", "w", "u", {"perm": [2, 0, 1]}), rnn()],
        {"x": ["B", "F", "T"]}, {**RNN, "g": weights(F), "b": weights(F), "m": weights(F), "v": abs(weights(F))}, F,
    ),
    "gemm, transposed": (
        [("Reshape", "x s", "v", {}), ("Gemm", "v D", "w", {"transB": 1}), ("Unsqueeze", "w a", "u", {}), rnn()],
        {"x": ["T", "F"]}, {**RNN, "D": weights(F, 24), "s": ints(-1, 24), "a": ints(1)}, 24,
    ),
    "normalised by constants": (
        [("Sub", "x mean", "v", {}), ("Div", "v std", "u", {}), rnn()], X, {**RNN, "mean": weights(F), "std": weights(F) + 2}, F,
    ),
    "first half": (
        [("Slice", "x begin end axis", "v", {}), ("MatMul", "v D", "u", {}), rnn()],
        X, {**RNN, "begin": ints(3), "end": ints(1000), "axis": ints(2), "D": weights(20, F)}, 23,
    ),
    "split": (
        [("Split", "x s", "v w", {"axis": 2}), ("MatMul", "v D", "u", {}), rnn()],
        X, {**RNN, "s": ints(20, 10), "D": weights(20, F)}, 30,
    ),
    "heads": (
        [("Reshape", "x s", "v", {}), ("ReduceMean", "v", "u", {"axes": [2], "keepdims": 0}), rnn()],
        X, {**RNN, "s": ints(0, 0, 5, F)}, 5 * F,
    ),
    "behind padding": (
        [("Pad", "x p", "u", {}), rnn()], X, {**RNN, "p": ints(0, 0, 1, 0, 0, 2)}, F - 3,
    ),
    "beside a constant": (
        [("Shape", "x", "s", {}), ("Slice", "s z two", "tb", {}), ("Concat", "tb three", "e", {"axis": 0}),
         ("Expand", "k e", "c", {}), ("Concat", "x c", "u", {"axis": 2}), rnn()],
        X, {**RNN, "z": ints(0), "two": ints(2), "three": ints(3), "k": weights(1, 1, 3)}, F - 3,
    ),
    "integer product": (
        [("DynamicQuantizeLinear", "x", "q qs qz", {}), ("MatMulInteger", "q D qz", "i", {}), ("Cast", "i", "f", {"to": 1}),
         ("Mul", "f k", "u", {}), rnn()],
        X, {**RNN, "D": R.integers(-9, 9, (24, F)).astype(np.int8), "k": np.float32(0.01)}, 24,
    ),
    "gru behind a relu": (
        [("Relu", "x", "u", {}), ("GRU", "u W R", "Y", {"hidden_size": H})], X,
        {"W": weights(1, 3 * H, F), "R": weights(1, 3 * H, H)}, F,
    ),
    "einsum": ([("Einsum", "x D", "u", {"equation": "tbf,fg->tbg"}), rnn()], X, {**RNN, "D": weights(24, F)}, 24),
    "names that are wrong": ([("Relu", "x", "u", {}), rnn()], {"x": ["N", "N", "N"]}, RNN, F),
    "no names": ([("Neg", "x", "u", {}), rnn()], {"x": [None, None, None]}, RNN, F),
}  # fmt: skip


def feature_axis(inputs, dims):
    name = next(iter(inputs))
    shape = inputs[name]
    return shape.index("F") if "F" in shape else len(shape) - 1


@pytest.mark.parametrize("case", CASES)
def test_found_through_what_stands_between(case):
    """The size is the one that a run takes, and the model streams as it runs."""
    nodes, inputs, consts, size = CASES[case]
    made = lstm_infer.load(model(nodes, inputs, consts))
    assert made.streaming.mode == "time", case
    shape = [{"T": 9, "B": 1}.get(n, 0) for n in inputs["x"]]
    axis = feature_axis(inputs, shape)
    if inputs["x"].count("T") == 0:
        shape = [9, 1, 0]
    shape[axis] = size
    x = R.standard_normal(shape).astype(np.float32)
    t = made.inputs[0].time_axis
    whole = made.run({"x": x})["Y"]
    stream = made.stream()
    parts = [stream.run(part) for part in np.split(x, [2, 3, 7], axis=t)]
    parts.append(stream.flush())
    made_in_parts = np.concatenate([p if not isinstance(p, dict) else p["Y"] for p in parts])
    if case == "integer product":
        assert made_in_parts.shape == whole.shape  # its stream quantises each step by itself
    else:
        np.testing.assert_array_equal(made_in_parts, whole)


def test_axes_that_have_to_agree_are_one():
    """Batches of the signal, of states and of side inputs, whatever the file calls them."""
    nodes = [("Concat", "x k", "u", {"axis": 2}), ("LSTM", "u W R B none h c", "Y hn cn", {"hidden_size": H})]
    inputs = {"x": ["T", "B", "F"], "k": ["S", "C", 4], "h": [1, "D", "H"], "c": [1, "E", "G"]}
    made = _lstm(nodes, inputs)
    sizes = {(p.name, a): n for p in made.inputs for a, n in enumerate(p.shape)}
    assert made.streaming.pairs == {"h": "hn", "c": "cn"}, sizes
    assert [p.batch_axis for p in made.inputs] == [1, 1, 1, 1]
    feeds = {"x": weights(5, 2, 36), "k": weights(5, 2, 4), "h": weights(1, 2, H), "c": weights(1, 2, H)}
    assert made.run(feeds)["Y"].shape == (5, 1, 2, H)


def _lstm(nodes, inputs):
    """With a bias, and no lengths."""
    proto = model(nodes, inputs, {**LSTM, "B": weights(1, 8 * H)}, ("Y", "hn", "cn"))
    for node in proto.graph.node:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    return lstm_infer.load(proto)


CONTRADICTIONS = {
    "open": ["T", "B", "F"],
    "declared": ["T", "B", F],
    "all declared": [7, 1, F],
}


@pytest.mark.parametrize("shape", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_widths_that_contradict_each_other(shape):
    """No size of an input helps: refused at load, by both nodes where two of them want another."""
    consts = {**RNN, "W2": weights(1, H, F - 7)}
    proto = model([rnn("x"), rnn("x", "W2", y="Z")], {"x": shape}, consts, ("Y", "Z"))
    with pytest.raises(ShapeError, match=r"RNN_1.*40.*33") as found:
        lstm_infer.load(proto)
    if shape[-1] == "F":
        assert "RNN_0" in str(found.value) and "axis 2 of input 'x'" in str(found.value)


def test_a_branch_that_does_not_fit_is_no_contradiction():
    """A side input chooses the other one."""
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "D"], ["a"])], "t", [], [helper.make_tensor_value_info("a", 1, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])], "e", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    proto = model([("Relu", "x", "v", {}), rnn()], {"x": [7, 1, F]}, {**RNN, "D": weights(F - 1, F)})
    proto.graph.node[0].CopyFrom(helper.make_node("If", ["which"], ["u"], then_branch=then, else_branch=other))
    proto.graph.input.append(helper.make_tensor_value_info("which", TensorProto.BOOL, []))
    made = lstm_infer.load(proto)
    assert made.run({"x": weights(7, 1, F), "which": np.array(False)})["Y"].shape == (7, 1, 1, H)


def test_a_size_that_was_tried_is_not_shown_as_one():
    """Samples that only have to be enough for the windows over them: their number stays open in every text."""
    nodes = [
        ("Unsqueeze", "x a", "u1", {}), ("Conv", "u1 K", "v", {"strides": [20]}), ("GlobalAveragePool", "v", "w", {}),
        ("Transpose", "w", "u", {"perm": [2, 0, 1]}), ("RNN", "u W R none none h", "Y hn", {"hidden_size": H}),
    ]  # fmt: skip
    proto = model(nodes, {"x": [1, "N"], "h": [1, 1, H]}, {**RNN, "K": weights(F, 1, 100), "a": ints(1)}, ("Y", "hn"))
    for node in proto.graph.node:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    made = lstm_infer.load(proto)
    stream = made.stream()
    with pytest.raises(ShapeError, match=r"takes \[1, N\], got \[300\]; the file leaves N open"):
        stream.step(weights(300))
    got = stream.step(weights(1, 300))
    assert got.shape == (1, 1, 1, H)
    from lstm_infer.cli.describe import describe

    found = describe(made, "m.onnx")
    assert [row["step"] for row in found.inputs] == ["[B, ?]", "[1, B, 8]"]
    assert "leaves a size open" in found.snippet


def test_sizes_that_stay_unknown_name_the_inputs_to_give():
    """What was tried is said to be tried, and the remedy has the names of this file."""
    proto = model([("Reshape", "x s", "u", {}), rnn()], {"x": ["T", "F", 3, 7]}, {**RNN, "s": ints(-1, 1, 11, 13)})
    made = lstm_infer.load(proto)
    with pytest.raises(lstm_infer.NotStreamableError, match=r"inputs=\{'x': \(T, F, 3, 7\)\}"):
        made.streaming  # noqa: B018


@pytest.mark.parametrize(("op", "gates", "starts"), [("GRU", 3, ["h"]), ("LSTM", 4, ["h", "c"]), ("RNN", 1, ["h"])])
@pytest.mark.parametrize("names", [("B", "B"), (None, None)])
def test_a_state_has_the_batch_of_the_signals_that_met_before_it(op, gates, starts, names):
    """A softmax over the signals of a batch: past it no label says that the state's axis is theirs, but they fit at one
    size alone."""
    nodes = [
        ("LogSoftmax", "x", "p", {"axis": 1}),
        (op, f"p W R   {' '.join(starts)}", " ".join(["a", *(f"{s}n" for s in starts)]), {"hidden_size": H}),
        (op, "x W R", "b", {"hidden_size": H}),
    ]
    made = [helper.make_node(kind, ins.split(" "), outs.split(), **attrs) for kind, ins, outs, attrs in nodes]
    ports = {"x": ["T", names[0], F], **{s: [1, names[1], H] for s in starts}}
    consts = {"W": weights(1, gates * H, F), "R": weights(1, gates * H, H)}
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in ports.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ["a", "b", *(f"{s}n" for s in starts)]],
        [numpy_helper.from_array(a, n) for n, a in consts.items()],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    loaded = lstm_infer.load(data)
    assert {port.name: port.batch_axis for port in loaded.inputs} == {"x": 1, **dict.fromkeys(starts, 1)}
    x = weights(6, 1, F)
    whole = loaded.run({"x": x, **{s: np.zeros((1, 1, H), np.float32) for s in starts}})
    stream = loaded.stream()
    for name, parts in zip(
        ("a", "b"), zip(*(stream.run(part).values() for part in (x[:2], x[2:])), strict=True), strict=True
    ):
        np.testing.assert_array_equal(np.concatenate(parts), whole[name])


@pytest.mark.parametrize("width", START[:4])
@pytest.mark.parametrize("layout", [0, 1])
def test_widths_that_are_sizes_to_start_from(width, layout):
    """No other axis starts at the width that the weights say: one would be taken for the other, and back."""
    consts = {"W": weights(2, H, width), "R": weights(2, H, H)}
    made = helper.make_node(
        "RNN", ["x", "W", "R", "", "lens", "h"], ["Y"], hidden_size=H, direction="bidirectional", layout=layout
    )
    ports = [("x", TensorProto.FLOAT, 3), ("lens", TensorProto.INT32, 1), ("h", TensorProto.FLOAT, 3)]
    graph = helper.make_graph(
        [made], "g",
        [helper.make_tensor_value_info(name, dtype, [None] * rank) for name, dtype, rank in ports],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in consts.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = lstm_infer.load(model).summary()
    assert "could not be found" not in text
    assert "direction is bidirectional" in text


def test_the_open_size_of_a_state_is_shown_as_open():
    """Of a cache of any length, and of what a recurrence over the bands of a signal holds for each of them."""
    nodes = [
        ("Slice", "k one end one", "kept", {}), ("Unsqueeze", "x one", "new", {}), ("Concat", "kept new", "k_out", {"axis": 1}),
        ("ReduceMean", "k_out", "y", {"axes": [1], "keepdims": 0}),
    ]  # fmt: skip
    consts = {"one": ints(1), "end": ints(2**31 - 1)}
    cache = lstm_infer.load(model(nodes, {"x": ["B", 4], "k": ["B", "P", 4]}, consts, ("y", "k_out")))
    assert [state.shape for state in cache.states] == [(1, None, 4)]
    assert "k -> k_out: float32 [1, ?, 4]" in cache.summary()
    for size in (3, 6):
        stream = cache.stream(2, initial={"k": np.ones((2, size, 4), np.float32)})
        stream.step(np.zeros((2, 4), np.float32))
        assert stream.state["k"].shape == (2, size, 4)
    fixed = lstm_infer.load(model(nodes, {"x": ["B", 4], "k": ["B", 5, 4]}, consts, ("y", "k_out")))
    assert [state.shape for state in fixed.states] == [(1, 5, 4)]


def banded(beside=False):
    """A recurrence over time for each band of [B, T, bands, F], bands left open; and the sum of numbers that come beside it."""
    nodes = [
        ("Transpose", "x", "t", {"perm": [1, 0, 2, 3]}), ("Reshape", "t rows", "u", {}), rnn(), ("Squeeze", "Y one", "s", {}),
        ("Shape", "t", "shape", {}), ("Slice", "shape zero three zero", "lead", {}), ("Concat", "lead h", "back", {"axis": 0}),
        ("Reshape", "s back", "v", {}), ("Transpose", "v", "y", {"perm": [1, 0, 2, 3]}),
    ]  # fmt: skip
    consts = {**RNN, "rows": ints(0, -1, F), "one": ints(1), "zero": ints(0), "three": ints(3), "h": ints(H)}
    if beside:
        nodes[-1] = ("Transpose", "v", "z", {"perm": [1, 0, 2, 3]})
        nodes += [("ReduceSum", "m", "sum", {"keepdims": 0}), ("Add", "z sum", "y", {})]
    return model(nodes, {"x": ["B", "T", "bands", F], **({"m": ["K"]} if beside else {})}, consts, ("y",))


@pytest.mark.parametrize("told", [False, True])
def test_the_states_of_open_bands_are_made_when_their_number_is_shown(told):
    data = banded()
    made = lstm_infer.load(data)
    assert [state.shape for state in made.states] == [(1, None, H)]
    made = lstm_infer.load(data, inputs={"x": (None, None, 3, F)}) if told else made
    x = weights(2, 6, 3, F)
    whole = made.run({"x": x})["y"]
    stream = made.stream(2)
    for first in (2, 1):
        np.testing.assert_array_equal(np.concatenate([stream.run(x[:, :first]), stream.run(x[:, first:])], 1), whole)
        assert [value.shape for value in stream.state.values()] == [(2, 3, H)]
        stream.reset()
    for dropped in (True, False):  # the time axis, of the first frame too
        stream = made.stream(2)
        steps = [stream.step(x[:, t] if dropped else x[:, t : t + 1]) for t in range(6)]
        np.testing.assert_array_equal(np.stack(steps, 1) if dropped else np.concatenate(steps, 1), whole)
    for twin in (stream.fork(), pickle.loads(pickle.dumps(stream))):
        twin.reset()
        np.testing.assert_array_equal(twin.run(x), whole)


def test_a_stream_that_has_begun_keeps_its_size():
    made = lstm_infer.load(banded())
    x, wider = weights(2, 6, 3, F), weights(2, 6, 5, F)
    stream = made.stream(2)
    first = stream.run(x[:, :4])
    seen = stream.snapshot()
    with pytest.raises(ShapeError, match=r"inputs=\{'x': \(None, None, 5, 40\)\}"):
        stream.run(wider)
    assert stream.snapshot() == seen
    whole = made.run({"x": x})["y"]
    np.testing.assert_array_equal(np.concatenate([first, stream.run(x[:, 4:])], 1), whole)
    stream.reset()
    np.testing.assert_array_equal(stream.run(wider), made.run({"x": wider})["y"])  # begun anew, at another size
    name = made.states[0].name
    with pytest.raises(
        ShapeError, match=r"takes \[2, \?, 8\] .* until a first frame or load\(\.\.\., inputs=.* got \[2, 3, 8\]"
    ):
        made.stream(2, initial={name: np.ones((2, 3, H), np.float32)})


def test_a_first_call_that_fails_shows_no_size():
    made = lstm_infer.load(banded())
    x, wider = weights(2, 6, 3, F), weights(2, 6, 5, F)
    stream = made.stream(2)
    before = stream.snapshot()
    with pytest.raises(ShapeError):
        stream.run(x, out=np.empty((2, 6, 5, H), np.float32))
    assert stream.snapshot() == before
    np.testing.assert_array_equal(stream.run(wider), made.run({"x": wider})["y"])


def test_sizes_that_no_state_follows_change_at_any_call():
    """And a stream that was reset behind that takes another number of bands."""
    made = lstm_infer.load(banded(beside=True))
    stream = made.stream(2)
    for bands in (3, 5):
        parts = [{"x": weights(2, 4, bands, F), "m": weights(size)} for size in (2, 7)]
        got = [stream.run(part)["y"] for part in parts]
        alone = lstm_infer.load(banded(), inputs={"x": (None, None, bands, F)}).stream(2)
        for part, y in zip(parts, got, strict=True):
            np.testing.assert_allclose(y, alone.run(part["x"]) + part["m"].sum(), rtol=1e-5, atol=1e-6)
        stream.reset()


def test_more_open_axes_than_sizes_to_start_from():
    sides = {f"s{k}": [f"p{k}", f"q{k}"] for k in range(len(START) + 3)}
    nodes = [rnn("x", y="r0"), *(("ReduceSum", name, f"sum_{name}", {"keepdims": 0}) for name in sides)]
    nodes += [("Add", f"r{k} sum_s{k}", f"r{k + 1}", {}) for k in range(len(sides))]
    data = model(nodes, {"x": ["T", "B", F], **sides}, RNN, (f"r{len(sides)}",))
    made = lstm_infer.load(data)
    x, held = weights(6, 2, F), {name: weights(2, 3) for name in sides}
    stream = made.stream(2, inputs=held)
    got = np.concatenate([stream.run(x[:2]), stream.run(x[2:])])
    tolerances.exact(got, made.run({"x": x, **held})[f"r{len(sides)}"])
