"""Windows over time: transposed convolutions, pads at the ends, memory of signals whose batch does not lead."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tolerances

lstm_infer = pytest.importorskip("lstm_infer")

HIDDEN = 5
FLOAT = TensorProto.FLOAT


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(-1, 1, shape).astype(np.float32)


def model(nodes, x, y, weights):
    """One input x and one output y of these shapes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, x)],
        [helper.make_tensor_value_info("y", FLOAT, y)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lstm_infer.load(made.SerializeToString())


def gru(channels):
    """GRU [T, B, C] -> [T, B, H] of the value "t"; its weights."""
    nodes = [
        helper.make_node("GRU", ["t", "W", "R"], ["Y"], name="rec", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["h"]),
    ]
    weights = {
        "W": draw(1, 3 * HIDDEN, channels),
        "R": draw(1, 3 * HIDDEN, HIDDEN),
        "one": np.array([1], np.int64),
    }
    return nodes, weights


def behind_a_gru(node, **weights):
    """x [B, C, T], a GRU, and `node` from "u" [B, H, T] to y."""
    rest, more = gru(3)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Transpose", ["h"], ["u"], perm=[1, 2, 0]),
        node,
    ]
    return model(nodes, ["B", 3, "T"], ["B", "C", None], {**more, **weights})


def pieces(made, x, cuts, axis, **options):
    stream = made.stream(**options)
    parts = [stream.run(np.ascontiguousarray(part)) for part in np.split(x, cuts, axis)]
    return np.concatenate([*parts, stream.flush()], axis), stream


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "attrs",
    [{}, {"pads": [2, 0]}, {"pads": [1, 1]}, {"dilations": [2]}, {"output_padding": [0]}, {"group": HIDDEN}],
    ids=str,
)
def test_a_transposed_convolution_without_a_stride_is_a_window(attrs, batch):
    columns = 1 if attrs.get("group") else 4
    node = helper.make_node("ConvTranspose", ["u", "K"], ["y"], name="up", **attrs)
    made = behind_a_gru(node, K=draw(HIDDEN, columns, 3))
    x = draw(batch, 3, 17)
    whole = made.run({"x": x})["y"]
    for cuts in ([], range(1, 17), [3, 4, 11]):
        got, _ = pieces(made, x, list(cuts), 2, batch=batch)
        tolerances.exact(got, whole, f"cut at {list(cuts)}")


def test_a_scan_takes_inputs_of_different_lag():
    """What a convolution looked ahead for, and the signal itself, which waits for it."""
    ports = [helper.make_tensor_value_info(name, FLOAT, ["B", 3]) for name in ("h", "ct", "xt", "next", "each")]
    body = [
        helper.make_node("Mul", ["h", "half"], ["less"]),
        helper.make_node("Sin", ["ct"], ["wave"]),
        helper.make_node("Sub", ["wave", "xt"], ["apart"]),
        helper.make_node("Add", ["less", "apart"], ["next"]),
        helper.make_node("CumSum", ["next", "last"], ["each"]),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Transpose", ["c"], ["cs"], perm=[2, 0, 1]),
        helper.make_node("Transpose", ["x"], ["xs"], perm=[2, 0, 1]),
        helper.make_node("Shape", ["xs"], ["b"], start=1, end=2),
        helper.make_node("Concat", ["b", "width"], ["size"], axis=0),
        helper.make_node("ConstantOfShape", ["size"], ["h0"]),
        helper.make_node("Scan", ["h0", "cs", "xs"], ["hn", "seq"], name="scan", num_scan_inputs=2,
                         body=helper.make_graph(body, "body", ports[:3], ports[3:])),
        helper.make_node("Transpose", ["seq"], ["y"], perm=[1, 2, 0]),
    ]  # fmt: skip
    consts = {"half": np.float32(0.5), "last": np.array(-1), "width": np.array([3]), "K": draw(3, 3, 3)}
    made = model(nodes, ["B", 3, "T"], ["B", 3, None], consts)
    x = draw(2, 3, 17)
    whole = made.run({"x": x})["y"]
    for cuts in ([], range(1, 17), [3, 4, 11]):
        got, stream = pieces(made, x, list(cuts), 2, batch=2)
        tolerances.exact(got, whole, f"cut at {list(cuts)}")
        assert stream.lag == 1


def test_a_transposed_convolution_with_a_stride_is_refused_by_name():
    node = helper.make_node("ConvTranspose", ["u", "K"], ["y"], name="up", strides=[2])
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        behind_a_gru(node, K=draw(HIDDEN, 4, 3)).stream()
    assert (caught.value.node, caught.value.op) == ("up", "ConvTranspose")


@pytest.mark.parametrize("steps", [13, 3, 1])
@pytest.mark.parametrize("begin, end", [(0, 2), (-2, 2), (-3, 4), (-1, 0)])
def test_steps_taken_off_the_beginning_and_added_at_the_end(begin, end, steps):
    """The recurrence runs over what is added, too."""
    rest, weights = gru(3)
    nodes = [
        helper.make_node("Pad", ["x", "pads", "fill"], ["t"], name="pad"),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    pads = np.array([begin, 0, 0, end, 0, 0], np.int64)
    made = model(nodes, ["T", "B", 3], [None, "B", HIDDEN], {**weights, "pads": pads, "fill": np.float32(0.5)})
    x = draw(steps, 2, 3)
    if steps + begin + end < 1:
        return
    whole = made.run({"x": x})["y"]
    for cuts in ([], range(1, steps), [2, 9]):
        got, stream = pieces(made, x, list(cuts), 0, batch=2)
        tolerances.exact(got, whole, f"cut at {list(cuts)}")
        assert stream.lag == -begin


def test_padding_in_front_of_a_recurrence_is_refused_by_name():
    rest, weights = gru(3)
    nodes = [helper.make_node("Pad", ["x", "pads"], ["t"], name="pad"), *rest, helper.make_node("Relu", ["h"], ["y"])]
    pads = np.array([2, 0, 0, 0, 0, 0], np.int64)
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        model(nodes, ["T", "B", 3], [None, "B", HIDDEN], {**weights, "pads": pads}).stream()
    assert caught.value.node == "pad"


def test_padding_reaches_the_windows_behind_a_split_of_channels():
    rest, weights = gru(4)
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
        helper.make_node("Split", ["p"], ["a", "b"], axis=1),
        helper.make_node("Conv", ["a", "K"], ["c"], name="first"),
        helper.make_node("Conv", ["b", "K"], ["d"], name="second"),
        helper.make_node("Concat", ["c", "d"], ["e"], axis=1),
        helper.make_node("Transpose", ["e"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    pads = np.array([0, 0, 2, 0, 0, 0], np.int64)
    made = model(nodes, ["B", 6, "T"], ["T", "B", HIDDEN], {**weights, "pads": pads, "K": draw(2, 3, 3)})
    x = draw(2, 6, 11)
    stream = made.stream(batch=2)
    parts = [stream.run(np.ascontiguousarray(x[:, :, t : t + 1])) for t in range(11)]
    assert stream.lag == 0
    tolerances.exact(np.concatenate(parts), made.run({"x": x})["y"], "step by step")


@pytest.mark.parametrize("kinds", [[FLOAT], [FLOAT, FLOAT], [TensorProto.FLOAT16, FLOAT]], ids=str)
@pytest.mark.parametrize("pads", [(2, 0), (1, 1)], ids=str)
def test_padding_goes_through_casts_between_floats(pads, kinds):
    """As Keras leaves them with a causal Conv, also those that change nothing."""
    rest, weights = gru(4)
    names = ["p", *(f"p{k}" for k in range(len(kinds)))]
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
        *(helper.make_node("Cast", [names[k]], [names[k + 1]], to=kind) for k, kind in enumerate(kinds)),
        helper.make_node("Conv", [names[-1], "K"], ["c"], name="conv"),
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    ends = np.array([0, 0, pads[0], 0, 0, pads[1]], np.int64)
    made = model(nodes, ["B", 3, "T"], ["T", "B", HIDDEN], {**weights, "pads": ends, "K": draw(4, 3, 3)})
    x = draw(2, 3, 11)
    for cuts in (range(1, 11), [4, 5]):
        stream = made.stream(batch=2)
        parts = [stream.run(np.ascontiguousarray(part)) for part in np.split(x, cuts, 2)]
        parts += [stream.flush()] if stream.lag else []
        assert stream.lag == pads[1]
        tolerances.exact(np.concatenate(parts), made.run({"x": x})["y"], f"cut at {list(cuts)}")


def test_a_cast_to_integers_behind_padding_is_refused_by_name():
    """It changes the padding where that is no whole number."""
    rest, weights = gru(3)
    nodes = [
        helper.make_node("Pad", ["x", "pads", "half"], ["p"], name="pad"),
        helper.make_node("Cast", ["p"], ["i"], to=TensorProto.INT32),
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Conv", ["f", "K"], ["c"], name="conv"),
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    pads = np.array([0, 0, 2, 0, 0, 0], np.int64)
    held = {**weights, "pads": pads, "half": np.float32(1.5), "K": draw(3, 3, 3)}
    with pytest.raises(lstm_infer.NotStreamableError, match="'pad'"):
        model(nodes, ["B", 3, "T"], ["T", "B", HIDDEN], held).stream()


def test_a_value_at_the_end_waits_for_the_padding_behind_it():
    rest, weights = gru(4)
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["e"], name="conv", pads=[1, 1]),
        helper.make_node("Transpose", ["e"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Gather", ["h", "last"], ["end"], axis=0),
        helper.make_node("Relu", ["end"], ["y"]),
    ]
    made = model(nodes, ["B", 3, "T"], ["B", HIDDEN], {**weights, "K": draw(4, 3, 3), "last": np.array(-1, np.int64)})
    x = draw(1, 3, 9)
    stream = made.stream()
    stream.run(x)
    assert stream.lag == 1
    tolerances.exact(stream.flush(), made.run({"x": x})["y"], "after flush")


def time_first():
    """x [T, B, C] and what it was one step before."""
    rest, weights = gru(3)
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
        helper.make_node("Slice", ["p", "zero", "minus", "zero"], ["t"], name="before"),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    weights |= {
        "pads": np.array([1, 0, 0, 0, 0, 0], np.int64),
        "zero": np.array([0], np.int64),
        "minus": np.array([-1], np.int64),
    }
    return model(nodes, ["T", "B", 3], ["T", "B", HIDDEN], weights), draw(7, 2, 3), 1


def bands():
    """x [B, 4, T, 3]: a convolution over the time of every band, [B * 4, 3, T]."""
    rest, weights = gru(4)
    nodes = [
        helper.make_node("Transpose", ["x"], ["swapped"], perm=[0, 1, 3, 2]),
        helper.make_node("Shape", ["swapped"], ["steps"], start=3),
        helper.make_node("Concat", ["rows", "steps"], ["flat"], axis=0),
        helper.make_node("Reshape", ["swapped", "flat"], ["folded"]),
        helper.make_node("Conv", ["folded", "K"], ["c"], name="conv", pads=[2, 0]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Transpose", ["h"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Concat", ["apart", "steps", "units"], ["back"], axis=0),
        helper.make_node("Reshape", ["turned", "back"], ["y"]),
    ]
    weights |= {
        "K": draw(4, 3, 3),
        "rows": np.array([-1, 3], np.int64),
        "apart": np.array([-1, 4], np.int64),
        "units": np.array([HIDDEN], np.int64),
    }
    return model(nodes, ["B", 4, "T", 3], ["B", 4, "T", HIDDEN], weights), draw(2, 4, 7, 3), 0


@pytest.mark.parametrize("make", [time_first, bands])
def test_rows_are_reset_wherever_the_batch_is(make):
    made, x, axis = make()
    stream = made.stream(batch=2)
    stream.run(x)
    stream.reset(rows=[1])
    again, fresh = stream.run(x), made.stream(batch=2).run(x)
    tolerances.exact(np.take(again, 1, axis), np.take(fresh, 1, axis), "the signal that was reset")
    assert not np.array_equal(np.take(again, 0, axis), np.take(fresh, 0, axis))


@pytest.mark.parametrize("how", ["Expand", "Tile", "zeros"])
def test_what_is_repeated_over_the_length_meets_features_that_lie_behind(how):
    """A side input k [B, 2], or zeros, as long as x [T, B, 3]; the convolution in front looks one step ahead."""
    rest, weights = gru(6 if how == "zeros" else 8)
    channels = 6
    nodes = [
        helper.make_node("Transpose", ["x"], ["u"], perm=[1, 2, 0]),
        helper.make_node("Conv", ["u", "K"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Transpose", ["c"], ["features"], perm=[2, 0, 1]),
        helper.make_node("Shape", ["x"], ["T"], start=0, end=1),
        helper.make_node("Concat", ["T", "ones"], ["size"], axis=0),
    ]
    if how == "zeros":
        nodes += [
            helper.make_node("Concat", ["T", "zeros_tail"], ["full"], axis=0),
            helper.make_node("ConstantOfShape", ["full"], ["zeros"]),
            helper.make_node("Add", ["features", "zeros"], ["t"]),
        ]
    else:
        nodes += [
            helper.make_node("Unsqueeze", ["k", "zero"], ["one_k"]),
            helper.make_node(how, ["one_k", "size"], ["along"]),
            helper.make_node("Concat", ["features", "along"], ["t"], axis=2),
        ]
    weights |= {
        "K": draw(channels, 3, 3),
        "ones": np.array([1, 1], np.int64),
        "zeros_tail": np.array([1, channels], np.int64),
        "zero": np.array([0], np.int64),
    }
    graph = helper.make_graph(
        [*nodes, *rest, helper.make_node("Identity", ["h"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", FLOAT, ["T", "B", 3]),
            *([] if how == "zeros" else [helper.make_tensor_value_info("k", FLOAT, ["B", 2])]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, ["T", "B", HIDDEN])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = lstm_infer.load(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    side = {} if how == "zeros" else {"k": draw(2, 2)}
    x = draw(17, 2, 3)
    whole = made.run({"x": x, **side})["y"]
    for cuts in ([], range(1, 17), [3, 4, 11]):
        got, stream = pieces(made, x, list(cuts), 0, batch=2, inputs=side)
        tolerances.exact(got, whole, f"cut at {list(cuts)}")
        assert stream.lag == 1


def test_the_node_at_which_time_is_lost_is_named():
    """Pairs of steps side by side: the recurrence runs over an axis that no input has."""
    rest, weights = gru(6)
    nodes = [
        helper.make_node("Reshape", ["x", "pairs"], ["folded"], name="stack"),
        helper.make_node("Transpose", ["folded"], ["t"], perm=[1, 0, 2]),
        *rest,
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    made = model(nodes, ["B", "T", 3], [None, "B", HIDDEN], {**weights, "pairs": np.array([0, -1, 6], np.int64)})
    with pytest.raises(lstm_infer.NotStreamableError, match=r"'stack' \(Reshape-17\)"):
        made.stream()


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_steps_cut_off_the_padded_end_of_a_window(stride, cut):
    """Behind a stride a step that is cut off takes two of those that padding added."""
    rest, weights = gru(3)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Transpose", ["h"], ["u"], perm=[1, 2, 0]),
        helper.make_node("Conv", ["u", "K"], ["v"], kernel_shape=[7], pads=[6, 6], strides=[stride]),
        helper.make_node("Slice", ["v", "zero", "cut", "two"], ["y"]),
    ]
    consts = {"zero": np.array([0]), "cut": np.array([-cut]), "two": np.array([2]), "K": draw(4, HIDDEN, 7)}
    made = model(nodes, ["B", 3, "T"], ["B", 4, None], {**weights, **consts})
    x = draw(2, 3, 16)
    got, _ = pieces(made, x, [6], 2, batch=2)
    tolerances.exact(got, made.run({"x": x})["y"])


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_behind_padding(stride, between):
    """With a window that looks ahead between the two, or with none."""
    rest, weights = gru(3)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        *rest,
        helper.make_node("Transpose", ["h"], ["u"], perm=[1, 2, 0]),
        helper.make_node("Pad", ["u", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "J"], ["m"], strides=[stride])
        if between
        else helper.make_node("Identity", ["p"], ["m"]),
        helper.make_node("Pad", ["m", "more"], ["q"]),
        helper.make_node("Conv", ["q", "K"], ["y"]),
    ]
    consts = {"J": draw(HIDDEN, HIDDEN, 4), "K": draw(4, HIDDEN, 5)}
    consts |= {"pads": np.array([0, 0, 1, 0, 0, 2]), "more": np.array([0, 0, 0, 0, 0, 2])}
    made = model(nodes, ["B", 3, "T"], ["B", 4, None], {**weights, **consts})
    x = draw(2, 3, 16)
    got, _ = pieces(made, x, [6, 7], 2, batch=2)
    tolerances.exact(got, made.run({"x": x})["y"])
