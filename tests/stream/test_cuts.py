"""What the file cuts off a sequence by constants, however large: refused by name, or right at every length."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances

TO_THE_END = 2**63 - 1


class Net:
    """x [B, T, 3] -> something over time -> LSTM -> y."""

    def __init__(self):
        self.nodes, self.consts = [], {}

    def const(self, *numbers):
        name = f"c{len(self.consts)}"
        self.consts[name] = np.array(numbers, np.int64)
        return name

    def do(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attrs))
        return name

    def length(self):
        return self.do("Slice", self.do("Shape", "x"), self.const(1), self.const(2), self.const(0))

    def cut(self, value, start, end):
        ends = [part if isinstance(part, str) else self.const(part) for part in (start, end)]
        return self.do("Slice", value, *ends, self.const(1))

    def model(self, value):
        rng = np.random.default_rng(0)
        for name, shape in {"W": (1, 16, 3), "R": (1, 16, 4)}.items():
            self.consts[name] = rng.normal(0, 0.5, shape).astype(np.float32)
        y = self.do("LSTM", self.do("Transpose", value, perm=[1, 0, 2]), "W", "R", hidden_size=4)
        self.consts["one"] = np.array([1], np.int64)
        self.nodes.append(helper.make_node("Transpose", [self.do("Squeeze", y, "one")], ["y"], perm=[1, 0, 2]))
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", 3])]
        outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        consts = [numpy_helper.from_array(array, name) for name, array in self.consts.items()]
        graph = helper.make_graph(self.nodes, "cut", ports, outs, consts)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return lstm_infer.load(model.SerializeToString())


def sliced(start, end):
    def build(net):
        return net.cut("x", start, end)

    return build


def at_most(n):
    def build(net):
        return net.cut("x", 0, net.do("Min", net.length(), net.const(n)))

    return build


def padded(n, at_least):
    """Zeros behind the end up to n steps, in front of a Conv; at_least: longer sequences stay as they are."""

    def build(net):
        more = net.do("Sub", net.const(n), net.length())
        more = net.do("Max", more, net.const(0)) if at_least else more
        x = net.do("Pad", "x", net.do("Concat", net.const(0, 0, 0, 0), more, net.const(0), axis=0))
        net.consts["K"] = np.ones((3, 3, 2), np.float32)
        x = net.do("Conv", net.do("Transpose", x, perm=[0, 2, 1]), "K", kernel_shape=[2])
        return net.do("Transpose", x, perm=[0, 2, 1])

    return build


CUT = {
    "first 40": sliced(0, 40), "first 16000": sliced(0, 16000), "last 16000": sliced(-16000, TO_THE_END),
    "from 1 to 16000": sliced(1, 16000), "all but the last 16000": sliced(0, -16000), "last 100": sliced(-100, TO_THE_END),
    "from 16000": sliced(16000, TO_THE_END), "from 5000 to 20000": sliced(5000, 20000), "at most 16000": at_most(16000),
    "at most 50": at_most(50), "to 100": padded(100, False), "to 16000": padded(16000, False),
    "at least 100": padded(100, True), "at least 16000": padded(16000, True),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_cut_by_a_constant_is_refused(name):
    net = Net()
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        net.model(CUT[name](net)).stream()
    assert caught.value.node and caught.value.op in str(caught.value)


def stepped(start, step):
    def build(net):
        ends = [net.const(n) for n in (start, TO_THE_END, 1, step)]
        return net.do("Slice", "x", *ends)

    return build


STRIDES = [(0, 2), (1, 2), (0, 3), (2, 3)]


@pytest.mark.parametrize(("start", "step"), STRIDES)
def test_one_step_of_every_few_streams(start, step):
    net = Net()
    model = net.model(stepped(start, step)(net))
    rng = np.random.default_rng(step)
    assert model.streaming.rate == step
    for T in (6, 13, 80, 300):
        x = rng.normal(0, 1, (1, T, 3)).astype(np.float32)
        whole = model.run({"x": x})["y"]
        assert whole.shape[1] == len(range(start, T, step))
        for cuts in ([T // 3], range(1, T), sorted(rng.integers(1, T, 4))):
            stream = model.stream()
            parts = [stream.run(part) for part in np.split(x, cuts, 1)]
            tolerances.exact(np.concatenate([*parts, stream.flush()], 1), whole, f"T={T}, cuts {list(cuts)}")


@pytest.mark.parametrize(("start", "step"), [(2, 2), (5, 3), (0, -1)])
def test_a_stride_that_passes_over_more_or_goes_back_is_refused(start, step):
    net = Net()
    with pytest.raises(lstm_infer.NotStreamableError):
        net.model(stepped(start, step)(net)).stream()


WHOLE = {
    "to the end": sliced(0, TO_THE_END), "to the end of TensorFlow": sliced(0, 2**31 - 1), "from -inf": sliced(-(2**63), 2**31),
    "without the first 3": sliced(3, TO_THE_END), "without the last 2": sliced(0, -2),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_bounds_that_mean_the_end_stream_at_every_length(name):
    net = Net()
    model = net.model(WHOLE[name](net))
    for T in (5, 60, 5000):
        x = np.random.default_rng(T).normal(0, 1, (1, T, 3)).astype(np.float32)
        stream = model.stream()
        parts = [stream.run(x[:, : T // 3]), stream.run(x[:, T // 3 :])]
        parts += [stream.flush()] if stream.lag else []
        tolerances.exact(np.concatenate(parts, 1), model.run({"x": x})["y"], f"T={T}")
