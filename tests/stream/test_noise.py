"""Random nodes in a stream: one number for one step of one signal, however the signal is cut, batched, kept or moved."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

I, H, T = 3, 4, 150
CUTS = ([], [1], [64, 65], [3, 10, 11, 12, 90], list(range(1, T)))


def n(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def gru(x):
    return n("GRU", [x, "W", "R"], ["h"], hidden_size=H)


def like(op, source, **attrs):
    return n(op, [source], ["r"], name="noise", **attrs)


NOISY = [n("Add", ["x", "r"], ["xn"]), gru("xn"), n("Squeeze", ["h", "one"], ["y"])]
ZEROS = [n("Shape", ["x"], ["s"]), n("ConstantOfShape", ["s"], ["z"])]
KINDS = {
    "normal": [like("RandomNormalLike", "x", scale=2.0), *NOISY],
    "uniform": [like("RandomUniformLike", "x", low=-1.0), *NOISY],
    "drawn for a shape": [*ZEROS, like("RandomNormalLike", "z"), *NOISY],
    "dropout": [n("Sigmoid", ["x"], ["p"]), like("Bernoulli", "p"), *NOISY],
    "two of them": [like("RandomNormalLike", "x"), n("RandomNormalLike", ["x"], ["r2"], name="other"), n("Sub", ["r", "r2"], ["d"]),
                    n("Add", ["x", "d"], ["xn"]), gru("xn"), n("Squeeze", ["h", "one"], ["y"])],
    "one for all": [n("RandomNormal", [], ["r"], name="noise", shape=[1, 1, I]), *NOISY],
    "behind the layer": [gru("x"), n("Squeeze", ["h", "one"], ["y0"]), like("RandomNormalLike", "y0"),
                         n("Add", ["y0", "r"], ["y"])],
    "of flat rows": [gru("x"), n("Squeeze", ["h", "one"], ["y0"]), n("Reshape", ["y0", "flat"], ["f"]),
                     n("Multinomial", ["f"], ["r"], name="noise", sample_size=H, seed=1.0, dtype=6), n("Cast", ["r"], ["rf"], to=1),
                     n("Shape", ["y0"], ["s"]), n("Reshape", ["rf", "s"], ["y"])],
    "begins at random": [n("Shape", ["x"], ["s"], start=1, end=2), n("Concat", ["one", "s", "units"], ["hs"], axis=0),
                         n("ConstantOfShape", ["hs"], ["hz"]), n("RandomNormalLike", ["hz"], ["h0"], name="noise"),
                         n("Tanh", ["h0"], ["h1"]), n("GRU", ["x", "W", "R", "", "", "h1"], ["h"], hidden_size=H),
                         n("Squeeze", ["h", "one"], ["y"])],
    "in a scan": [n("Scan", ["x"], ["xn"], num_scan_inputs=1, body=helper.make_graph(
                      [n("RandomNormalLike", ["xt"], ["r"], name="noise"), n("Add", ["xt", "r"], ["each"])], "body",
                      [helper.make_tensor_value_info("xt", TensorProto.FLOAT, ["B", I])],
                      [helper.make_tensor_value_info("each", TensorProto.FLOAT, ["B", I])])),
                  gru("xn"), n("Squeeze", ["h", "one"], ["y"])],
    "batch first": [n("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), n("RandomNormalLike", ["xt"], ["r"], name="noise"),
                    n("Add", ["xt", "r"], ["xn0"]), n("Transpose", ["xn0"], ["xn"], perm=[1, 0, 2]), gru("xn"),
                    n("Squeeze", ["h", "one"], ["y"])],
    "in front of a window": [like("RandomNormalLike", "x"), n("Add", ["x", "r"], ["x0"]),
                             n("Transpose", ["x0"], ["x1"], perm=[1, 2, 0]),
                             n("Conv", ["x1", "K"], ["x2"], pads=[2, 0]), n("Transpose", ["x2"], ["xn"], perm=[2, 0, 1]), gru("xn"),
                             n("Squeeze", ["h", "one"], ["y"])],
    "looks ahead": [like("RandomNormalLike", "x"), n("Add", ["x", "r"], ["x0"]), n("Transpose", ["x0"], ["x1"], perm=[1, 2, 0]),
                    n("Conv", ["x1", "K"], ["x2"], pads=[1, 1]), n("RandomUniformLike", ["x2"], ["r2"], name="second"),
                    n("Add", ["x2", "r2"], ["x3"]), n("Transpose", ["x3"], ["xn"], perm=[2, 0, 1]), gru("xn"),
                    n("Squeeze", ["h", "one"], ["y"])],
}  # fmt: skip


def build(nodes, ports=(("x", ["T", "B", I]),), outs=(("y", ["T", "B", H]),)):
    rng = np.random.default_rng(0)
    consts = {
        "W": rng.uniform(-1, 1, (1, 3 * H, I)).astype(np.float32), "R": rng.uniform(-1, 1, (1, 3 * H, H)).astype(np.float32),
        "K": rng.uniform(-1, 1, (I, I, 3)).astype(np.float32), "one": np.array([1]), "flat": np.array([-1, H]),
        "zero": np.array([0]), "units": np.array([H]),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "noisy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outs],
        [numpy_helper.from_array(value, name) for name, value in consts.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def signal(batch=1, steps=T):
    return np.random.default_rng(1).normal(size=(steps, batch, I)).astype(np.float32)


def fed(stream, x, cuts):
    parts = [stream.run(x[a:b]) for a, b in pairwise([0, *cuts, len(x)])]
    return np.concatenate([*parts, *([stream.flush()] if stream.lag else [])])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [None, 7])
def test_pieces_are_the_whole(kind, seed):
    model = lstm_infer.load(build(KINDS[kind]), seed=seed)
    x = signal()
    first = model.stream()
    begin = dict(first.state)
    whole = fed(first, x, [])
    if seed is not None:
        np.testing.assert_array_equal(model.run({"x": x})["y"], whole)
    for cuts in CUTS:
        stream = model.stream(max_chunk=16 if len(cuts) == 2 else 64)
        stream.state = begin  # where nobody gave a seed, that of the first
        np.testing.assert_array_equal(fed(stream, x, cuts), whole, err_msg=f"cut at {cuts}")
    assert first.lag or first._plan.call is not None, "off the road"


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_does_not_depend_on_its_batch(kind):
    """Row b of a batch draws as signal b: alone it does so where it is handed the row."""
    model, x, batch = lstm_infer.load(build(KINDS[kind]), seed=3), signal(5), 5
    stream = model.stream(batch)
    states = dict(stream.state)
    got = fed(stream, x, [40, 41])
    np.testing.assert_array_equal(got, model.run({"x": x})["y"])
    np.testing.assert_array_equal(fed(model.stream(3), x[:, :3], [7]), got[:, :3])
    np.testing.assert_array_equal(fed(model.stream(), x[:, :1], [7]), got[:, :1])  # with the seed as it is
    for b in range(batch):
        alone = model.stream()
        for name, value in states.items():
            if len(value) == batch:
                alone.state[name] = value[b : b + 1]
        np.testing.assert_array_equal(fed(alone, x[:, b : b + 1], [64]), got[:, b : b + 1])
    if kind != "one for all":
        assert (got[:, 0] != got[:, 1]).any()
    one = np.broadcast_to(x[:, :1], x.shape).copy()
    rows = fed(model.stream(batch), one, [])
    assert (kind == "one for all") == bool((rows == rows[:, :1]).all())


@pytest.mark.parametrize(
    "kind", ["normal", "dropout", "two of them", "in front of a window", "one for all", "begins at random", "in a scan"]
)
@pytest.mark.parametrize("seed", [None, 7])
def test_kept_forked_and_moved(kind, seed):
    data = build(KINDS[kind])
    model, x = lstm_infer.load(data, seed=seed), signal()
    stream = model.stream()
    stream.run(x[:70])
    twin, kept, pickled = stream.fork(), stream.snapshot(), pickle.dumps(stream)
    want = stream.run(x[70:])
    np.testing.assert_array_equal(twin.run(x[70:]), want)
    np.testing.assert_array_equal(pickle.loads(pickled).run(x[70:]), want)
    other = lstm_infer.load(data, seed=seed).stream()
    other.restore(kept)
    np.testing.assert_array_equal(other.run(x[70:]), want)
    stream.reset()
    again = stream.run(x)
    np.testing.assert_array_equal(again[70:], want)
    assert (again == model.stream().run(x)).all() == (seed is not None), "each stream has its own, or that of the seed"


def test_one_signal_of_a_batch_begins_again():
    model, x = lstm_infer.load(build(KINDS["normal"])), signal(4)
    stream = model.stream(4)
    first = stream.run(x)
    stream.reset(rows=[2])
    second = stream.run(x)
    np.testing.assert_array_equal(second[:, 2], first[:, 2])
    assert (second[:, [0, 1, 3]] != first[:, [0, 1, 3]]).any()


def frame():
    nodes = [
        n("Unsqueeze", ["x", "zero"], ["xu"]), n("GRU", ["xu", "W", "R", "", "", "s"], ["", "s1"], hidden_size=H),
        like("RandomNormalLike", "s1", scale=0.1), n("RandomUniform", [], ["q"], name="shared", shape=[1, 1, H]),
        n("Add", ["s1", "r"], ["s2"]), n("Add", ["s2", "q"], ["s_out"]), n("Identity", ["s_out"], ["y"]),
    ]  # fmt: skip
    return build(nodes, (("x", ["B", I]), ("s", [1, "B", H])), (("y", [1, "B", H]), ("s_out", [1, "B", H])))


def test_a_frame_model_draws_anew_in_every_frame():
    model, x = lstm_infer.load(frame(), seed=2), signal(3)[:20]
    stream = model.stream(3)
    assert stream._plan.call is not None
    steps = np.stack([stream.step(frame) for frame in x])
    np.testing.assert_array_equal(model.stream(3).run(x), steps)
    np.testing.assert_array_equal(model.run({"x": x[0], "s": np.zeros((1, 3, H), np.float32)})["y"], steps[0])
    assert stream.state["noise.draws"].shape == (3, 2)
    assert (stream.state["noise.draws"][:, 1] == 20).all()
    assert stream.state["shared.draws"].shape == (1, 2)
    silent = np.zeros((50, 3, I), np.float32)
    noise = np.diff(model.stream(3).run(silent)[:, 0], axis=0)
    assert len(np.unique(noise)) > noise.size - 5


def test_what_a_model_says_of_it():
    model = lstm_infer.load(build(KINDS["normal"]))
    (state,) = [s for s in model.states if s.name == "noise.draws"]
    assert (state.kind, state.shape, state.dtype, state.batch_axis) == ("drawn", (1, 2), np.int64, 0)
    assert "noise.draws" in model.summary()


def test_statistics_over_time_and_signals():
    """No structure between neighbouring steps, signals, nodes or places."""
    model = lstm_infer.load(build([like("RandomNormalLike", "x"), n("RandomNormalLike", ["x"], ["r2"], name="other"),
                                   n("Concat", ["r", "r2"], ["y0"], axis=2), gru("x"), n("ReduceMean", ["h"], ["m"], keepdims=0),
                                   n("Mul", ["m", "m"], ["mm"]), n("Identity", ["y0"], ["y"])],
                                  outs=(("y", ["T", "B", 2 * I]),)), seed=5)  # fmt: skip
    x = model.run({"x": signal(40, 500)})["y"].astype(np.float64)
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 6 / np.sqrt(x.size)
    for a, b in ((x[1:], x[:-1]), (x[:, 1:], x[:, :-1]), (x[..., :I], x[..., I:]), (x[..., 1:], x[..., :-1])):
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
