"""What depends on the length of the sequence is refused by stream(), at whatever length that begins to show."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from test_states import FLOAT, H, I, X, build, node, noise, weights

import lstm_infer
import tolerances
from lstm_infer.errors import NotStreamableError

BIG = np.array([2**63 - 1])
SCALARS = {"zero": np.array(0), "z": np.array([0]), "o": np.array([1]), "big": BIG}


def make(rng, before, inputs=(), after=(), out="Y", rank=4, **consts):
    """`before` makes xx from x, the LSTM reads it, `after` makes `out`."""
    nodes = [*before, node("LSTM", ["xx" if before else "x", "W", "R"], ["Y"]), *after]
    outs = [(out, FLOAT, [f"d{axis}" for axis in range(rank)])]
    return build(nodes, [X, *inputs], outs, weights(rng, 4) | SCALARS | {k: np.asarray(v) for k, v in consts.items()})


def length(*then):
    return [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["T"]),
        helper.make_node("Cast", ["T"], ["t"], to=TensorProto.FLOAT),
        *then,
    ]


def branch(op, name):
    return helper.make_graph(
        [helper.make_node(op, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
    )


def refused(rng, what):
    op = helper.make_node
    match what:
        case "cut after 37 steps" | "cut after 53 steps" | "cut after 100 steps":
            return make(rng, [op("Slice", ["x", "z", "end", "z"], ["xx"])], end=[int(what.split()[2])])
        case "output cut after 100 steps":
            return make(rng, [], after=[op("Slice", ["Y", "z", "end", "z"], ["y"])], out="y", end=[100])
        case "the last 100 steps":
            return make(rng, [op("Slice", ["x", "begin", "big", "z"], ["xx"])], begin=[-100])
        case "scaled by the length":
            return make(rng, length(op("Div", ["x", "t"], ["xx"])))
        case "silent below 6 steps":
            steps = [op("Greater", ["T", "five"], ["c"]), op("Cast", ["c"], ["m"], to=TensorProto.FLOAT)]
            return make(rng, length(*steps, op("Mul", ["x", "m"], ["xx"])), five=5)
        case "silent above 1000 steps":
            steps = [op("Less", ["T", "many"], ["c"]), op("Cast", ["c"], ["m"], to=TensorProto.FLOAT)]
            return make(rng, length(*steps, op("Mul", ["x", "m"], ["xx"])), many=1000)
        case "another branch below 6 steps":
            choose = op("If", ["c"], ["xx"], then_branch=branch("Neg", "a"), else_branch=branch("Identity", "b"))
            return make(rng, length(op("Greater", ["T", "five"], ["c"]), choose), five=5)
        case "a side input scaled by the length":
            steps = [op("Mul", ["gain", "t"], ["scaled"]), op("Add", ["x", "scaled"], ["xx"])]
            return make(rng, length(*steps), inputs=[("gain", FLOAT, [1])])
    raise AssertionError(what)


@pytest.mark.parametrize(
    "what",
    [
        "cut after 37 steps", "cut after 53 steps", "cut after 100 steps", "output cut after 100 steps", "the last 100 steps",
        "scaled by the length", "silent below 6 steps", "silent above 1000 steps", "another branch below 6 steps",
        "a side input scaled by the length",
    ],
)  # fmt: skip
def test_refused(rng, what):
    model = lstm_infer.load(refused(rng, what))
    with pytest.raises(NotStreamableError):
        model.stream()
    feeds = {info.name: noise(rng, *(3 if n is None else n for n in info.shape)) for info in model.inputs}
    model.run(feeds)


def test_sizes_that_follow_the_length_are_fine(rng):
    op = helper.make_node
    before = [op("Shape", ["x"], ["sizes"]), op("Expand", ["two", "sizes"], ["twos"]), op("Mul", ["x", "twos"], ["a"])]
    before += [op("Slice", ["a", "z", "big", "z"], ["xx"])]
    model = lstm_infer.load(make(rng, before, two=np.float32([2])))
    x = noise(rng, 9, 2, I)
    stream = model.stream(batch=2)
    parts = [stream.run(x[a:b]) for a, b in ((0, 1), (1, 6), (6, 9))]
    tolerances.exact(np.concatenate(parts), model.run({"x": x})["Y"])
    assert parts[0].shape == (1, 1, 2, H)


def of_lens(rng, *then, inside=()):
    """sequence_lens of all signals made of "T" by `then`, which gives "n"."""
    op = helper.make_node
    nodes = [
        op("Shape", ["x"], ["sizes"]),
        op("Gather", ["sizes", "z"], ["T"]),
        op("Gather", ["sizes", "o"], ["B"]),
        *then,
        op("Expand", ["n", "B"], ["each"]),
        op("Cast", ["each"], ["lens"], to=TensorProto.INT32),
        *inside,
        node("LSTM", ["xx" if inside else "x", "W", "R", "", "lens"], ["Y", "h"]),
    ]
    outs = [("Y", FLOAT, ["T", 1, "B", H]), ("h", FLOAT, [1, "B", H])]
    consts = weights(rng, 4) | SCALARS | {"cap": np.array([20]), "K": noise(rng, I, I, 3)}
    return build(nodes, [X], outs, consts)


def test_sequence_lens_that_are_the_length_are_none(rng):
    """As pack_padded_sequence leaves them where the lengths were made of the input's shape."""
    model = lstm_infer.load(of_lens(rng, helper.make_node("Identity", ["T"], ["n"])))
    for batch, steps in ((1, 9), (2, 30)):
        x = noise(rng, steps, batch, I)
        whole, stream = model.run({"x": x}), model.stream(batch)
        parts = [stream.run(np.ascontiguousarray(part)) for part in np.split(x, [1, 2, 7])]
        tolerances.exact(np.concatenate([part["Y"] for part in parts]), whole["Y"], "pieces")
        tolerances.exact(parts[-1]["h"], whole["h"], "the end")


@pytest.mark.parametrize("how", ["capped", "less", "behind a window"])
def test_sequence_lens_that_only_follow_the_length_are_refused(rng, how):
    op = helper.make_node
    then = {"capped": [op("Min", ["T", "cap"], ["n"])], "less": [op("Sub", ["T", "o"], ["n"])]}
    inside = [
        op("Transpose", ["x"], ["channels"], perm=[1, 2, 0]),
        op("Conv", ["channels", "K"], ["made"], pads=[1, 1]),
        op("Transpose", ["made"], ["xx"], perm=[2, 0, 1]),
    ]
    data = of_lens(rng, *then.get(how, [op("Identity", ["T"], ["n"])]), inside=inside if "window" in how else ())
    with pytest.raises(NotStreamableError, match="depends on the length"):
        lstm_infer.load(data).stream()
