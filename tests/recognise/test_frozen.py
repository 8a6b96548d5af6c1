"""Numbers in Reshape targets: the example's sizes are opened, the model's own are left, and what may be either is refused.

A drawn model is written twice: `open`, where every target is computed from the sizes of the input, and `baked`, with the
numbers of an example in their place. Groups of steps have the same numbers in both. At other sizes `baked` has to give
what `open` gives, or a ShapeError.
"""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from engine import onnxruntime_run


class Twins:
    """One model, written with open or with baked sizes; `moves` name what is done between input and output."""

    def __init__(self, moves, seed, *, steps, batch, features, group, batch_first, declared):
        self.moves, self.seed, self.T, self.B, self.F, self.G = moves, seed, steps, batch, features, group
        self.batch_first, self.declared = batch_first, declared

    def write(self, baked, declared=None, group=None):
        """`group`: "T" where groups are as long as the sequence, whatever its length."""
        self.nodes, self.consts, self.baked, self.group = [], {}, baked, group or self.G
        declared = self.declared if declared is None else declared
        self.rng, self.pick = np.random.default_rng(self.seed), random.Random(self.seed)
        self.width, value = self.F, "x"
        for move in self.moves:
            value = getattr(self, move)(value)
        self.nodes.append(helper.make_node("Tanh", [value], ["y"]))
        axes = ["B", "T"] if self.batch_first else ["T", "B"]
        numbers = {"B": self.B, "T": self.T}
        shape = [numbers[n] if n in declared and baked else n for n in axes]
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*shape, self.F])]
        outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        held = [numpy_helper.from_array(array, name) for name, array in self.consts.items()]
        graph = helper.make_graph(self.nodes, "twins", ports, outs, held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return model.SerializeToString()

    # ---- nodes ------------------------------------------------------------------------------------------

    def const(self, array):
        name = f"c{len(self.consts)}"
        self.consts[name] = np.asarray(array)
        return name

    def weight(self, *shape):
        return self.const(self.rng.normal(0, 0.5, shape).astype(np.float32))

    def do(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attrs))
        return name

    def reshape(self, value, *target):
        """ "T" and "B" are sizes of the input: numbers where baked."""
        numbers = {"B": self.B, "T": self.T, "TB": self.T * self.B}
        if self.baked or not any(isinstance(n, str) for n in target):
            return self.do("Reshape", value, self.const(np.array([numbers.get(n, n) for n in target], np.int64)))
        return self.do("Reshape", value, self.do("Concat", *[self.size(n) for n in target], axis=0))

    def size(self, n):
        if not isinstance(n, str):
            return self.const(np.array([n], np.int64))
        if len(n) == 2:
            return self.do("Mul", self.size("T"), self.size("B"))
        at = ["B", "T"].index(n) if self.batch_first else ["T", "B"].index(n)
        ends = [self.const(np.array([k], np.int64)) for k in (at, at + 1, 0)]
        return self.do("Slice", self.do("Shape", "x"), *ends)

    def lead(self):
        return ("B", "T") if self.batch_first else ("T", "B")

    # ---- moves: from and to [*lead, width] --------------------------------------------------------------

    def same(self, value):
        """A Reshape that changes nothing, one of its sizes left to -1 or none."""
        first, second = self.lead()
        return self.reshape(value, *self.pick.choice([(first, second), (-1, second), (first, -1)]), self.width)

    def dense(self, value):
        """Rows and back."""
        rows = self.reshape(value, *self.pick.choice([(-1, self.width), ("TB", self.width)]))
        rows, self.width = self.do("MatMul", rows, self.weight(self.width, 4)), 4
        first, second = self.lead()
        return self.reshape(rows, *self.pick.choice([(first, second), (-1, second), (first, -1)]), 4)

    def heads(self, value):
        """Features as two heads and back."""
        if self.width % 2:
            return value
        first, second = self.lead()
        apart = self.do("Neg", self.reshape(value, first, second, 2, self.width // 2))
        return self.reshape(apart, first, second, self.width)

    def lstm(self, value, way="forward"):
        hidden, d = 4, 2 if way == "bidirectional" else 1
        x = self.do("Transpose", value, perm=[1, 0, 2]) if self.batch_first else value
        y = self.do("LSTM", x, self.weight(d, 16, self.width), self.weight(d, 16, 4), hidden_size=hidden, direction=way)
        self.width = d * hidden
        y = self.reshape(
            self.do("Transpose", y, perm=[0, 2, 1, 3]), *self.pick.choice([("T", "B"), ("T", -1)]), self.width
        )
        return self.do("Transpose", y, perm=[1, 0, 2]) if self.batch_first else y

    def both(self, value):
        return self.lstm(value, "bidirectional")

    # ---- groups of steps: these numbers are the model's -------------------------------------------------

    def windows(self, value):
        """Every G steps by themselves: [groups, G, width] -> [groups, width] -> back over all."""
        if not self.batch_first:
            return value
        groups = self.reshape(value, -1, self.group, self.width)
        means = self.do("ReduceMean", groups, axes=[1], keepdims=1)
        return self.reshape(self.do("Sub", groups, means), "B", "T", self.width)

    def parts(self, value):
        """The sequence in G parts of equal length, each less its mean."""
        if not self.batch_first:
            return value
        parts = self.do("Reshape", value, self.const(np.array([0, self.G, -1, self.width])))
        means = self.do("ReduceMean", parts, axes=[2], keepdims=1)
        return self.reshape(self.do("Sub", parts, means), "B", "T", self.width)

    def batch_of_windows(self, value):
        """Windows stay apart: the last move."""
        return self.reshape(value, -1, self.group, self.width) if self.batch_first else value


def load(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(data)


def alike(got, want):
    try:
        tolerances.like_onnxruntime(got, want)
    except AssertionError:
        return False
    return True


def check(twins, sizes):
    """Is the baked model right or refused at all sizes; at how many it ran."""
    whole, data = twins.write(False), twins.write(True)
    open_model, baked, ran = load(whole), load(data), 0
    for steps, batch in sizes:
        shape = (batch, steps) if twins.batch_first else (steps, batch)
        x = np.random.default_rng(steps * 100 + batch).normal(0, 1, (*shape, twins.F)).astype(np.float32)
        where = f"seed {twins.seed}, {twins.moves}, T={steps}, B={batch}"
        want = onnxruntime_run(whole, {"x": x})
        try:
            got = baked.run({"x": x})["y"]
        except lstm_infer.ShapeError:
            native = (steps, batch) == (twins.T, twins.B)
            assert want is None or not native, where
        else:
            right = [want, onnxruntime_run(twins.write(True, declared=""), {"x": x})]  # as meant, or as it is written
            if "T" in twins.declared and twins.G == twins.T > 1:  # a group is what the file declares to be all steps
                right = [onnxruntime_run(twins.write(False, group="T"), {"x": x})]
            assert any(answer is not None and alike(got, answer["y"]) for answer in right), where
            ran += 1
        try:  # what is written openly is never repaired into something else
            tolerances.like_onnxruntime(open_model.run({"x": x})["y"], want["y"], where) if want else None
        except lstm_infer.ShapeError:
            assert set(twins.moves) & {"windows", "parts", "batch_of_windows"}, where
    return ran


SIZES = [(12, 1), (18, 1), (6, 2), (12, 2), (7, 1), (5, 3), (1, 1), (24, 2), (6, 6), (6, 1)]


@pytest.mark.parametrize("seed", range(120))
def test_right_or_refused(seed):
    pick = random.Random(seed)
    steps, batch = pick.choice([(6, 1), (6, 2), (2, 2), (4, 1), (1, 1), (2, 1), (6, 6), (3, 2)])
    kinds = ["same", "same", "dense", "heads", "lstm", "lstm", "both", "windows", "parts"]
    moves = [pick.choice(kinds) for _ in range(pick.choice([1, 2, 3]))] + ["lstm"] * (seed % 2)
    moves += ["batch_of_windows"] * (seed % 5 == 0)
    twins = Twins(
        moves, seed, steps=steps, batch=batch, features=pick.choice([steps, steps * batch, 4, 6]),
        group=pick.choice([steps, steps, max(steps // 2, 1)]), batch_first=pick.random() < 0.7,
        declared=pick.choice(["", "T", "TB", "B"]),
    )  # fmt: skip
    check(twins, [(steps, batch), (2 * steps, batch), (steps, 2 * batch), *SIZES])


@pytest.mark.parametrize("declared", ["", "TB"])
@pytest.mark.parametrize("moves", [["lstm"], ["lstm", "lstm"], ["both"]])
def test_sizes_that_are_restored_open(moves, declared):
    for steps, batch in ((6, 1), (6, 2), (4, 4), (2, 2)):
        twins = Twins(moves, 0, steps=steps, batch=batch, features=4, group=1, batch_first=False, declared=declared)
        assert check(twins, SIZES) == len(SIZES)


@pytest.mark.parametrize("move", ["windows", "parts", "batch_of_windows"])
@pytest.mark.parametrize("declared", ["", "T"])
def test_groups_of_as_many_steps_as_the_example_has_are_opened_only_where_it_is_declared(move, declared):
    moves = ["lstm", move] if move == "batch_of_windows" else [move, "lstm"]
    twins = Twins(moves, 0, steps=6, batch=1, features=6, group=6, batch_first=True, declared=declared)
    check(twins, SIZES)


def one_step():
    """x [1, 1, 3]: one step of one signal, its transposition written as a Reshape that changes nothing."""
    rng = np.random.default_rng(0)
    consts = {"W": rng.normal(0, 0.5, (1, 16, 3)), "R": rng.normal(0, 0.5, (1, 16, 4))}
    consts = {name: array.astype(np.float32) for name, array in consts.items()}
    consts |= {"same": np.array([1, 1, 3]), "one": np.array([1])}
    nodes = [
        helper.make_node("Reshape", ["x", "same"], ["turned"]),
        helper.make_node("LSTM", ["turned", "W", "R"], ["Y"], hidden_size=4),
        helper.make_node("Squeeze", ["Y", "one"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3])]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4])]
    held = [numpy_helper.from_array(array, name) for name, array in consts.items()]
    graph = helper.make_graph(nodes, "step", ports, outs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_one_step_of_one_signal_whose_axes_nobody_can_tell_is_not_opened(axis):
    model = lstm_infer.load(one_step(), time_axis=None if axis is None else {"x": axis})
    x = np.random.default_rng(1).normal(0, 1, (1, 5, 3)).astype(np.float32)
    for wrong in (x, x.swapaxes(0, 1)):
        with pytest.raises(lstm_infer.ShapeError):
            model.run({"x": np.ascontiguousarray(wrong)})
    stream = model.stream()
    steps = np.concatenate([stream.step(x[:, t : t + 1]) for t in range(5)], 1)
    assert len(model.states) == 2 and not np.array_equal(steps[:, 0], model.run({"x": x[:, 1:2]})["y"][:, 0])
    chunk = x if axis == 1 else np.ascontiguousarray(x.swapaxes(0, 1))
    got = model.stream().run(chunk)
    tolerances.exact(got if axis == 1 else got.swapaxes(0, 1), steps)


# ---- whose a number is: what the file declares, and at which sizes it runs -----------------------------------


class Layer:
    """x -> LSTM -> y [B, T, 8], then nodes of a test's own; `numbers` are held as int64, other arrays as float32."""

    def __init__(self, declared, features=3):
        rng = np.random.default_rng(0)
        self.declared, self.features, self.nodes = declared, features, []
        self.held = {
            "W": rng.normal(0, 0.5, (1, 32, features)),
            "R": rng.normal(0, 0.5, (1, 32, 8)),
            "one": np.array([1]),
        }
        self.do("Transpose", "x", out="xt", perm=[1, 0, 2])
        self.do("LSTM", "xt", "W", "R", out="Y", hidden_size=8)
        self.do("Transpose", self.do("Squeeze", "Y", "one"), out="s", perm=[1, 0, 2])

    def do(self, op, *inputs, out=None, **attrs):
        name = out or f"v{len(self.nodes)}"
        held = [self.hold(v) for v in inputs]
        self.nodes.append(helper.make_node(op, held, [name], name=f"n{len(self.nodes)}", **attrs))
        return name

    def hold(self, value):
        if isinstance(value, str):
            return value
        name = f"c{len(self.held)}"
        self.held[name] = np.asarray(value)
        return name

    def data(self):
        held = [
            numpy_helper.from_array(a.astype(np.int64 if a.dtype.kind == "i" else np.float32), n)
            for n, a in self.held.items()
        ]
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*self.declared, self.features])]
        outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "layer", ports, outs, held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    def run(self, steps, batch):
        x = np.random.default_rng(steps + batch).normal(0, 1, (batch, steps, self.features)).astype(np.float32)
        return load(self.data()).run({"x": x})["y"], x


@pytest.mark.parametrize("declared", [["B", "T"], ["B", 6], [3, "T"], [3, 6]])
def test_a_number_of_the_models_own_stays(declared):
    """8 rows, whatever is fed: the file runs at every size as it is."""
    layer = Layer(declared)
    layer.do("Reshape", layer.do("Reshape", "s", [-1, 8]), [8, -1], out="y")
    for steps, batch in ((6, 3), (6, 8), (12, 2), (5, 5)):
        got, x = layer.run(steps, batch)
        rows = Layer(["B", "T"])
        rows.do("Identity", "s", out="y")
        tolerances.like_onnxruntime(got, load(rows.data()).run({"x": x})["y"].reshape(8, -1))


@pytest.mark.parametrize("declared", [[8, 6], [8, "T"]])
def test_a_declared_batch_that_is_a_width_too_holds(declared):
    """[8, -1] of 8 signals and 8 features: either may be meant."""
    layer = Layer(declared)
    layer.do("Reshape", layer.do("Reshape", "s", [-1, 8]), [8, -1], out="y")
    assert layer.run(6, 8)[0].shape == (8, 48)
    with pytest.raises(lstm_infer.ShapeError, match=r"axis 0 is 8 in the file, and .* holds 8"):
        layer.run(6, 4)


@pytest.mark.parametrize(
    "declared, target",
    [
        ([2, 6], [2, 6, 2, 4]),
        (["B", 6], [-1, 6, 2, 4]),
        (["B", 6], [-1, 6, 8]),
        ([2, 6], [2, 6, -1]),
        ([2, 6], [2, 6, -1, 4]),
    ],
)
def test_declared_steps_are_opened(declared, target):
    layer = Layer(declared)
    layer.do("Reshape", "s", target, out="y")
    for steps, batch in ((6, 2), (9, 2), (1, 5), (12, 1)):
        assert layer.run(steps, batch)[0].shape[:2] == (batch, steps)
    load(layer.data()).stream()


@pytest.mark.parametrize("declared", [["B", "T"], ["B", 6]])
def test_steps_inside_a_computed_shape_are_opened(declared):
    """[batch, 6, 8] of which the batch is computed: as normalize() leaves it."""
    layer = Layer(declared)
    batch = layer.do("Shape", "x", start=0, end=1)
    length = layer.do("ReduceL2", "s", axes=[-1])
    layer.do("Div", "s", layer.do("Expand", length, layer.do("Concat", batch, [6], [8], axis=0)), out="y")
    for steps, n in ((6, 2), (1, 3), (13, 2)):
        got, _ = layer.run(steps, n)
        assert got.shape == (n, steps, 8)
        tolerances.like_onnxruntime(np.square(got).sum(-1), np.ones((n, steps), np.float32))


def repeated(layer, op):
    last = layer.do("Gather", "s", [-1], axis=1)
    if op == "Expand":
        return layer.do(op, last, [1, 6, 1])
    if op == "Tile":
        return layer.do(op, last, [1, 6, 1])
    return layer.do("Add", last, np.zeros((1, 6, 8)))


@pytest.mark.parametrize("op", ["Expand", "Tile", "zeros"])
def test_a_code_repeated_as_often_as_the_example_has_steps(op):
    """Refused at other lengths where the file declares the example's; as written where it leaves them open."""
    layer = Layer(["B", 6])
    layer.do("Tanh", repeated(layer, op), out="y")
    assert layer.run(6, 2)[0].shape == (2, 6, 8)
    for steps in (1, 5, 12):
        with pytest.raises(lstm_infer.ShapeError, match="holds 6"):
            layer.run(steps, 2)
    layer = Layer(["B", "T"])
    layer.do("Tanh", repeated(layer, op), out="y")
    assert layer.run(11, 2)[0].shape == (2, 6, 8)


def sequence(steps, n):
    """What the LSTM of every Layer makes of its input."""
    layer = Layer(["B", "T"])
    layer.do("Identity", "s", out="y")
    return layer.run(steps, n)[0]


@pytest.mark.parametrize("op", ["Expand", "Tile"])
@pytest.mark.parametrize("beside", ["Concat", "Add"])
def test_a_code_repeated_beside_the_steps_of_the_sequence_is_repeated_as_often_as_there_are(op, beside):
    layer = Layer(["B", 6])
    first = layer.do("Gather", "s", [0], axis=1)
    copies = layer.do("Tanh", layer.do(op, first, [1, 6, 1]))
    how = {"axis": 2} if beside == "Concat" else {}
    layer.do(beside, "s", copies, out="y", **how)
    for steps, n in ((6, 2), (1, 3), (13, 2)):
        got, seq = layer.run(steps, n)[0], sequence(steps, n)
        code = np.tanh(np.repeat(seq[:, :1], steps, 1))
        want = np.concatenate([seq, code], 2) if how else seq + code
        tolerances.like_onnxruntime(got, want, f"{steps} steps")
    assert lstm_infer.load(layer.data()).repaired


def cut_behind_a_window(beside):
    """A causal Conv as exporters leave it: padded at both ends, of which the example's 6 steps stay."""
    layer = Layer(["B", 6])
    channels = layer.do("Transpose", "s", perm=[0, 2, 1])
    kernel = np.random.default_rng(4).normal(0, 0.5, (8, 8, 3)).astype(np.float32)
    slid = layer.do("Conv", channels, kernel, kernel_shape=[3], pads=[2, 2])
    steps = layer.do("Transpose", layer.do("Slice", slid, [0], [6], [2]), perm=[0, 2, 1])
    layer.do("Add" if beside else "Tanh", steps, *(["s"] if beside else []), out="y")
    return layer, kernel


def test_a_causal_window_beside_the_sequence_is_cut_where_that_ends():
    layer, kernel = cut_behind_a_window(True)
    for steps, n in ((6, 2), (1, 3), (13, 2)):
        got, seq = layer.run(steps, n)[0], sequence(steps, n)
        padded = np.pad(seq, [(0, 0), (2, 0), (0, 0)])
        want = seq + sum(padded[:, k : k + steps] @ kernel[:, :, k].T for k in range(3))
        tolerances.like_onnxruntime(got, want, f"{steps} steps")
    model = lstm_infer.load(layer.data())
    assert model.streaming.lag == 0 and any("time was frozen at 6" in text for text in model.repaired)


def test_a_causal_window_that_nothing_stands_beside_may_be_cut_by_the_model():
    layer, _ = cut_behind_a_window(False)
    assert layer.run(6, 2)[0].shape == (2, 6, 8)
    assert not lstm_infer.load(layer.data()).repaired
    with pytest.raises(lstm_infer.NotStreamableError, match="cuts the sequence"):
        lstm_infer.load(layer.data()).stream()


def test_steps_are_opened_where_the_file_is_right_for_its_batch_alone():
    layer = Layer([1, "T"])
    ones = layer.do("Expand", np.ones((1, 1, 1), np.float32), [1, 1, 8])
    layer.do(
        "Concat", layer.do("Reshape", "s", [1, 6, 8]), layer.do("Expand", ones, layer.do("Shape", "s")), axis=2, out="y"
    )
    for steps in (6, 1, 13):
        assert layer.run(steps, 1)[0].shape == (1, steps, 16)


def joined(layer, kind):
    """The last step, at as many positions as the example has steps, or what as many copies of a cell make of it."""
    last = layer.do("Gather", "s", [-1], axis=1)
    if kind == "one value":
        return layer.do("Concat", *[last] * 6, axis=1)
    if kind == "stacked":
        flat = layer.do("Squeeze", last, [1])
        return layer.do("Concat", *[layer.do("Unsqueeze", flat, [1]) for _ in range(6)], axis=1)
    if kind == "index":
        return layer.do("Gather", last, [0] * 6, axis=1)
    if kind == "ones":
        return layer.do("MatMul", np.ones((6, 1), np.float32), last)
    steps = []
    for _ in range(6):
        last = layer.do("Tanh", layer.do("MatMul", last, np.eye(8)[::-1]))
        steps.append(layer.do("Sigmoid", last) if kind == "heads" else last)
    return layer.do("Concat", *steps, axis=1)


@pytest.mark.parametrize("kind", ["one value", "stacked", "index", "ones", "copies", "heads"])
def test_a_code_joined_as_often_as_the_example_has_steps(kind):
    """As an unrolled decoder leaves it: refused at other lengths where the file declares the example's."""
    layer = Layer(["B", 6])
    layer.do("Tanh", joined(layer, kind), out="y")
    assert layer.run(6, 2)[0].shape == (2, 6, 8)
    for steps in (1, 5, 12):
        with pytest.raises(lstm_infer.ShapeError, match="holds 6"):
            layer.run(steps, 2)
    layer = Layer(["B", "T"])
    layer.do("Tanh", joined(layer, kind), out="y")
    assert layer.run(11, 2)[0].shape == (2, 6, 8)


@pytest.mark.parametrize("kind", ["heads of one value", "scales"])
def test_what_is_joined_but_is_no_loop_counts_nothing(kind):
    """Six heads of the last step, or six means of the sequence."""
    layer = Layer(["B", 6])
    last = layer.do("Gather", "s", [-1], axis=1)
    parts = []
    for n in range(6):
        if kind == "scales":
            last = layer.do(
                "Add", last, layer.do("ReduceMax", layer.do("Mul", "s", np.float32(n)), axes=[1], keepdims=1)
            )
        parts.append(last if kind == "scales" else layer.do("MatMul", last, np.eye(8) * np.float32(n)))
    layer.do("Concat", *parts, axis=1, out="y")
    for steps in (1, 6, 11):
        assert layer.run(steps, 2)[0].shape == (2, 6, 8)


def test_a_sum_divided_by_the_steps_of_the_example_holds_them():
    layer = Layer(["B", 6])
    layer.do("Div", layer.do("ReduceSum", "s", [1], keepdims=0), np.float32(6), out="y")
    assert layer.run(6, 3)[0].shape == (3, 8)
    with pytest.raises(lstm_infer.ShapeError, match="may count the steps"):
        layer.run(7, 3)


def test_rows_of_zeros_joined_to_the_batch_are_repeated():
    """One step of zeros in front, as a shift leaves it."""
    layer = Layer([2, "T"])
    layer.do("Concat", np.zeros((2, 1, 8)), "s", axis=1, out="y")
    for steps, batch in ((6, 2), (3, 5)):
        got, _ = layer.run(steps, batch)
        assert got.shape == (batch, steps + 1, 8) and not got[:, 0].any() and got[:, 1].any()


def test_one_line_is_said_of_a_file_and_once():
    layer = Layer([2, 6], features=5)
    layer.do("Reshape", "s", [2, 6, 2, 4], out="y")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        models = [lstm_infer.load(layer.data()) for _ in range(3)]
    assert [str(w.message) for w in said] == [
        "the file has 2 sizes of its example frozen in (batch, time); they were opened: see model.repaired"
    ]
    assert all(len(model.repaired) == 2 for model in models)
    layer.held["W"] = layer.held["W"] + 1  # another file
    with pytest.warns(UserWarning, match="2 sizes"):
        lstm_infer.load(layer.data())


def test_a_sequence_cut_where_the_example_ends_is_refused_beyond_it():
    layer = Layer([2, 6])
    layer.do("Slice", layer.do("Reshape", "s", [2, 6, 8]), [0], [6], [1], out="y")
    assert layer.run(6, 5)[0].shape == (5, 6, 8)
    with pytest.raises(lstm_infer.ShapeError):
        layer.run(9, 2)


def test_a_count_that_is_computed_of_constants_is_opened():
    """spk.unsqueeze(1).expand(-1, 7, -1) beside the sequence, as PyTorch writes it without open axes."""

    def net(steps):
        nodes = [
            helper.make_node("Unsqueeze", ["who", "one"], ["w"]),
            helper.make_node("ConstantOfShape", ["three"], ["ones"], value=numpy_helper.from_array(np.array([1]), "v")),
            helper.make_node("Mul", ["ones", "minus"], ["all"]),
            helper.make_node("Equal", ["shape", "all"], ["kept"]),
            helper.make_node("Where", ["kept", "ones", "shape"], ["target"]),
            helper.make_node("Expand", ["w", "target"], ["wide"], name="beside"),
            helper.make_node("Concat", ["x", "wide"], ["xw"], axis=2),
            helper.make_node("Transpose", ["xw"], ["t"], perm=[1, 0, 2]),
            helper.make_node("GRU", ["t", "W", "R"], ["Y"], hidden_size=3),
            helper.make_node("Squeeze", ["Y", "one"], ["y"]),
        ]
        rng = np.random.default_rng(1)
        consts = {
            "one": np.array([1]), "three": np.array([3]), "minus": np.array(-1), "shape": np.array([-1, steps, -1]),
            "W": rng.normal(size=(1, 9, 6)).astype(np.float32), "R": rng.normal(size=(1, 9, 3)).astype(np.float32),
        }  # fmt: skip
        ports = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, steps, 4]), ("who", [1, 2]))
        ]
        out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph(nodes, "g", ports, out, [numpy_helper.from_array(a, n) for n, a in consts.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lstm_infer.load(net(7))
    assert any("beside" in text for text in model.repaired)
    who = np.float32([[0.5, -1]])
    for steps in (7, 1, 12):
        x = np.random.default_rng(steps).normal(size=(1, steps, 4)).astype(np.float32)
        want = onnxruntime_run(net(steps), {"x": x, "who": who})["y"]
        tolerances.like_onnxruntime(model.run({"x": x, "who": who})["y"], want, f"{steps} steps")
        stream = model.stream(inputs={"who": who})
        got = np.concatenate([stream.run(part) for part in np.split(x, range(1, steps, 2), 1)])
        tolerances.like_onnxruntime(got, want, f"{steps} steps, streamed")
