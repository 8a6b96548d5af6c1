"""What a file says of itself at the sizes it runs at: a repair that changes that is taken back, or read otherwise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from engine import onnxruntime_run

CELLS = {"LSTM": (4, 2), "GRU": (3, 1), "RNN": (1, 1)}
H = 6


class Net:
    """x [T, B, 5] or [B, T, 5], whatever is declared, and nodes of a test's own."""

    def __init__(self, declared=("T", "B")):
        self.declared, self.nodes, self.rng = declared, [], np.random.default_rng(0)
        self.held = {}

    def hold(self, value):
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        name = f"c{len(self.held)}"
        self.held[name] = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        return name

    def do(self, op, *inputs, out="", **attrs):
        name = out or f"v{len(self.nodes)}"
        held = [self.hold(v) for v in inputs]
        self.nodes.append(helper.make_node(op, held, [name], name=f"n{len(self.nodes)}", **attrs))
        return name

    def zeros(self, axis):
        """[1, B, H], of the size of an axis of x."""
        shape = self.do("Concat", [1], self.do("Shape", "x", start=axis, end=axis + 1), [H], axis=0)
        return self.do("Expand", np.float32(0), shape)

    def layer(self, value, width, cell="LSTM", state=""):
        """Y with the axis of directions behind the batch: [T, B, 1, H]."""
        gates, states = CELLS[cell]
        weights = [self.rng.normal(0, 0.5, (1, gates * H, n)).astype(np.float32) for n in (width, H)]
        firsts = ["", "", *[state] * states] if isinstance(state, str) and state else []
        firsts = ["", "", *[state] * states] if not isinstance(state, str) else firsts
        y = self.do(cell, value, *weights, *firsts, hidden_size=H)
        return self.do("Transpose", y, perm=[0, 2, 1, 3])

    def data(self):
        held = [numpy_helper.from_array(array, name) for name, array in self.held.items()]
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*self.declared, 5])]
        outs = [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "net", ports, outs, held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def load(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(data)


def feed(*sizes):
    return np.random.default_rng(sum(sizes)).uniform(-1, 1, (*sizes, 5)).astype(np.float32)


def like_onnxruntime(data, *sizes):
    """What the engine gives, the same as the peer where that runs."""
    x = feed(*sizes)
    got, want = next(iter(load(data).run({"x": x}).values())), onnxruntime_run(data, {"x": x})
    if want is not None:
        tolerances.like_onnxruntime(got, next(iter(want.values())), str(sizes))
    return got


def rows(cell, total, first, *, middle=None):
    """Two layers; the second runs over the rows of the first as one signal: [T * B, 1, H]."""
    net = Net()
    y = net.layer("x", 5, cell, net.zeros(1))
    y = net.do("Reshape", y, first)
    if middle:
        y = net.do(middle, y)
    y = net.layer(y, H, cell, np.zeros((1, 1, H), np.float32))
    net.do("Reshape", y, [total, 1, H])
    return net.data()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("first, total", [([-1, 1, H], 18), ([18, 1, H], 18), ([6, 1, H], 6), ([-1, 1, H], 8)])
def test_rows_of_all_signals_are_not_one_signals_steps(cell, first, total):
    """18 is T x B, which the file says wherever it runs: [6, 3], [9, 2], [18, 1]."""
    data = rows(cell, total, first)
    open_to_all = rows(cell, -1, [-1, 1, H])
    for n in [n for n in range(1, total + 1) if total % n == 0]:
        assert like_onnxruntime(data, n, total // n).shape == (total, 1, H)
    for sizes in ((7, 2), (1, 5), (13, 1), (4, 4)):
        want = next(iter(load(open_to_all).run({"x": feed(*sizes)}).values()))
        tolerances.like_onnxruntime(like_onnxruntime(data, *sizes), want)


def test_a_stream_of_rows_takes_one_signal():
    model = load(rows("LSTM", 18, [-1, 1, H]))
    with pytest.raises(lstm_infer.LstmInferError):
        model.stream(batch=2)


def grouped(target, batch_first, *, declared=("A", "B"), width=5):
    net = Net(declared)
    y = net.do("Transpose", "x", perm=[1, 0, 2]) if batch_first else "x"
    y = net.do("Squeeze", net.layer(y, 5), [2])
    y = net.do("Transpose", y, perm=[1, 0, 2]) if batch_first else y
    y = net.do("MatMul", y, net.rng.normal(0, 0.5, (H, width)).astype(np.float32))
    net.do("Reshape", y, target)
    return net.data()


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("target", [[6, -1, 5], [-1, 6, 5], [6, -1], [-1, 30]])
def test_groups_of_the_models_own_where_all_axes_are_open(target, batch_first):
    """The file runs wherever T x B is a multiple of 6: nothing of it is repaired."""
    data = grouped(target, batch_first)
    assert not load(data).repaired
    for sizes in ((6, 6), (9, 2), (3, 6), (2, 6), (12, 4), (6, 1), (1, 6)):
        like_onnxruntime(data, *sizes)
    for sizes in ((4, 1), (5, 5), (7, 1)):
        with pytest.raises(lstm_infer.ShapeError):
            load(data).run({"x": feed(*sizes)})


def test_what_takes_the_directions_away_says_the_layers_sizes():
    """[6, -1, H] from [T, B, 1, H]: 6 is T, though the file runs at [12, 3] and gives [6, 6, H]."""
    net = Net()
    net.do("Reshape", net.layer("x", 5, "LSTM", net.zeros(1)), [6, -1, H])
    model = load(net.data())
    for sizes in ((6, 3), (12, 3), (7, 2), (1, 6)):
        assert next(iter(model.run({"x": feed(*sizes)}).values())).shape == (*sizes, H)


def test_a_group_beside_a_frozen_layer_leaves_the_axis_alone():
    """[6, -1, H] from the layer, then [2, -1, H] of the batch first: both fit more than one reading."""
    net = Net()
    y = net.do("Reshape", net.layer("x", 5, "LSTM", net.zeros(1)), [6, -1, H])
    y = net.do("Reshape", net.do("Transpose", y, perm=[1, 0, 2]), [2, -1, H])
    net.do("Transpose", y, perm=[1, 0, 2])
    data = net.data()
    for sizes in ((6, 2), (9, 2), (6, 4), (12, 1), (3, 4), (2, 6), (5, 1)):
        try:
            got = next(iter(load(data).run({"x": feed(*sizes)}).values()))
        except lstm_infer.ShapeError:
            continue
        want = onnxruntime_run(data, {"x": feed(*sizes)})
        right = [] if want is None else [next(iter(want.values()))]
        assert got.shape == (*sizes, H) or any(np.allclose(got, w, atol=1e-5) for w in right)


def test_a_batch_of_one_that_nothing_shows_is_held():
    """[1, -1, H] of a batch of 1, and a state for the batch that is fed: one of the two is not meant."""
    net = Net(("B", "T"))
    state = net.zeros(0)
    y = net.layer(net.do("Transpose", "x", perm=[1, 0, 2]), 5, "LSTM", state)
    shape = net.do("Shape", y)
    lead = net.do("Concat", net.do("Slice", shape, [0], [2]), [H], axis=0)
    y = net.do("Transpose", net.do("Reshape", y, lead), perm=[1, 0, 2])
    y = net.do("Transpose", net.do("Reshape", y, [1, -1, H]), perm=[1, 0, 2])
    y = net.do("Reshape", net.layer(y, H, "LSTM", state), [6, 1, H])
    net.do("Transpose", y, perm=[1, 0, 2])
    model = load(net.data())
    assert like_onnxruntime(net.data(), 1, 6).shape == (1, 6, H)
    assert model.run({"x": feed(1, 9)}).popitem()[1].shape == (1, 9, H)
    with pytest.raises(lstm_infer.ShapeError, match="holds 1, which may be that size or a number of the model's own"):
        model.run({"x": feed(3, 6)})
    with pytest.raises(lstm_infer.LstmInferError):
        model.stream(batch=2)
