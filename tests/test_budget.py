"""A small file that asks for much is answered at once: by a model that computes at run time, or by an error of ours."""

from __future__ import annotations

import resource
import time
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper

import lstm_infer
import shared_files
from lstm_infer import _core
from lstm_infer.graph import budget
from lstm_infer.graph.budget import Allowance, open_budget, spend
from lstm_infer.walk.decided import who_decides
from lstm_infer.walk.loop import _equal_slices

F, I = T.FLOAT, T.INT64
N = H.make_node
SECONDS = 4.0
"""Of its own time, on a busy machine; most take a twentieth of it."""


def model(nodes, inputs, outputs, inits=(), functions=(), opset=20):
    """A model of these parts; inputs (name, dtype, shape), inits by name."""
    ports = [H.make_tensor_value_info(name, dtype, shape) for name, dtype, shape in inputs]
    ends = [H.make_tensor_value_info(name, F, None) for name in outputs]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(inits).items()]
    graph = H.make_graph(list(nodes), "g", ports, ends, arrays)
    opsets = [H.make_opsetid("", opset)] + ([H.make_opsetid("f", 1)] if functions else [])
    return H.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def of_constants(nodes, shape, dtype=F, more=()):
    """`nodes` make `r` from the constant `m0` of this shape; it is added to the input."""
    made = N("ConstantOfShape", ["s"], ["m0"], value=H.make_tensor("v", dtype, [1], [1]))
    ends = [N("Cast", ["last"], ["f"], to=F), N("ReduceSum", ["f"], ["r"], keepdims=0), N("Add", ["x", "r"], ["y"])]
    inits = {"s": np.array(shape, np.int64), **dict(more)}
    return model([made, *nodes, *ends], [("x", F, ["T", 4])], ["y"], inits)


def graph(nodes, name, inputs=(), outputs=()):
    ports = [H.make_tensor_value_info(n, dtype, shape) for n, dtype, shape in inputs]
    return H.make_graph(list(nodes), name, ports, [H.make_tensor_value_info(n, d, s) for n, d, s in outputs])


def nested_loops(depth, trips, *, known=True):
    """Loops in loops, over a constant or over the input."""
    inner = None
    for level in map(str, range(depth)):
        work = N("Tanh", ["v" + level], ["w" + level])
        if inner is not None:
            work = N("Loop", ["n", "ct", "v" + level], ["w" + level], body=inner)
        inputs = [("i" + level, I, []), ("c" + level, T.BOOL, []), ("v" + level, F, None)]
        outputs = [("d" + level, T.BOOL, []), ("w" + level, F, None)]
        inner = graph([N("Identity", ["c" + level], ["d" + level]), work], "b" + level, inputs, outputs)
    loop = N("Loop", ["n", "ct", "k" if known else "x"], ["z"], body=inner)
    inits = {"n": np.array(trips), "ct": np.array(True), "k": np.zeros((1, 4), np.float32)}
    return model([loop, N("Add", ["x", "z"], ["y"])], [("x", F, ["T", 4])], ["y"], inits)


def nested_ifs(depth):
    """Ifs in Ifs, all on an input."""
    inner = None
    for d in range(depth):
        nodes = [N("Neg", ["x"], [f"o{d}"])] if inner is None else [_choice(inner, f"o{d}", f"e{d}")]
        inner = graph(nodes, f"g{d}", (), [(f"o{d}", F, None)])
    return model([_choice(inner, "y", "e")], [("x", F, ["T", 4]), ("cx", T.BOOL, [])], ["y"])


def _choice(then, output, other):
    otherwise = graph([N("Identity", ["x"], [other])], other, (), [(other, F, None)])
    return N("If", ["cx"], [output], then_branch=then, else_branch=otherwise)


def doubling_functions(depth, fan):
    """Functions of which each calls the one before `fan` times."""
    made = []
    for d in range(depth):
        names = ["a", *(f"t{k}" for k in range(fan - 1)), "b"]
        op, domain = (f"f{d - 1}", "f") if d else ("Tanh", "")
        nodes = [N(op, [a], [b], domain=domain) for a, b in pairwise(names)]
        opsets = [H.make_opsetid("", 20), H.make_opsetid("f", 1)]
        made.append(H.make_function("f", f"f{d}", ["a"], ["b"], nodes, opsets))
    return made


def chain(op, n):
    return [N(op, [f"m{i}"] * 2, [f"m{i + 1}" if i < n - 1 else "last"]) for i in range(n)]


def joined_with_itself(depth):
    """Nothing, joined with itself in another shape, and again."""
    nodes, v = [N("Slice", ["x", "zero", "zero", "one"], ["v0"])], "v0"
    for d in range(depth):
        nodes += [N("Transpose", [v], [f"t{d}"], perm=[0, 2, 1]), N("Transpose", [f"t{d}"], [f"u{d}"], perm=[0, 2, 1])]
        nodes += [N("Concat", [v, f"u{d}"], [f"v{d + 1}"], axis=1)]
        v = f"v{d + 1}"
    inits = {"zero": np.array([0]), "one": np.array([1])}
    return model([*nodes, N("Identity", [v], ["y"])], [("x", F, ["T", 3, 4])], ["y"], inits)


def cropped(depth, fan):
    nodes = [N(f"f{depth - 1}", ["x"], ["y0"], domain="f"), N("CenterCropPad", ["y0", "sh"], ["y"])]
    return model(nodes, [("x", F, ["T", 4])], ["y"], {"sh": np.array([2, 2])}, doubling_functions(depth, fan))


_SMALL_LSTM = {"W": np.ones((1, 256, 4), np.float32), "R": np.ones((1, 256, 64), np.float32)}
BOMBS = {
    "products": lambda: of_constants(chain("MatMul", 50), (7000, 7000)),
    "an integer product": lambda: of_constants(chain("MatMul", 1), (4000, 4000), I),
    "Einsum": lambda: of_constants([N("Einsum", ["m0", "m0"], ["last"], equation="ab,cb->ac")], (5000, 5000)),
    "Conv": lambda: of_constants([N("Conv", ["m0", "m0"], ["last"], pads=[399] * 4)], (1, 1, 400, 400)),
    "LSTM": lambda: of_constants([N("LSTM", ["m0", "W", "R"], ["last"], hidden_size=64)], (10**6, 1, 4), more=_SMALL_LSTM),
    "pool": lambda: of_constants([N("AveragePool", ["m0"], ["last"], kernel_shape=[300, 300])], (1, 1, 1500, 1500)),
    "TopK": lambda: of_constants([N("TopK", ["m0", "k"], ["last", ""])], (1, 1 << 24), more={"k": np.array([5])}),
    "memory": lambda: of_constants(chain("Add", 300), (1000, 1000)),
    "mel filters": lambda: of_constants(
        [N("MelWeightMatrix", ["n", "l", "rate", "low", "high"], ["last"])], (1, 1), more={
            "n": np.array(1 << 13), "l": np.array(1 << 14), "rate": np.array(8000), "low": np.float32(0), "high": np.float32(4000),
        },
    ),
    "padding": lambda: of_constants([N("Conv", ["m0", "m0"], ["last"], pads=[10**8] * 2, strides=[10**8])], (1, 1, 2)),
    "a padded pool": lambda: of_constants(
        [N("MaxPool", ["m0"], ["last"], kernel_shape=[3], pads=[2, 2], strides=[10**8], dilations=[10**8])], (1, 1, 10**8 + 5)
    ),
    "an output of which most is cut away": lambda: of_constants(
        [N("ConvTranspose", ["m0", "w"], ["last"], strides=[1000], pads=[199_999_000] * 2)], (1, 1, 400_000),
        more={"w": np.ones((1, 1, 1), np.float32)},
    ),
    "a wide stride": lambda: model(
        [N("ConvTranspose", ["x", "w"], ["y"], strides=[10**6])], [("x", F, [1, 1, 3])], ["y"],
        {"w": np.ones((1, 1, 1000), np.float32)},
    ),
    "different numbers": lambda: of_constants([N("Unique", ["m0"], ["last", "a", "b", "c"])], (1 << 24,)),
    "a diagonal": lambda: of_constants([N("EyeLike", ["m0"], ["last"], dtype=T.DOUBLE)], (1 << 13, 1 << 13)),
    "a mask of ones": lambda: model(
        [N("Dropout", ["x"], ["d", "m"]), N("Cast", ["m"], ["y"], to=F)], [("x", F, ["T", 1 << 15, 1 << 12])], ["y"]
    ),
    "loops over constants": lambda: nested_loops(3, 1000),
    "loops over an input": lambda: nested_loops(12, 1000, known=False),
    "Ifs": lambda: nested_ifs(24),
    "what is joined with itself": lambda: joined_with_itself(40),
    "functions that need types": lambda: cropped(30, 2),
    "functions": lambda: model(
        [N("f29", ["x"], ["y"], domain="f")], [("x", F, ["T", 4])], ["y"], functions=doubling_functions(30, 2)
    ),
    "a window of 2^40": lambda: model(
        [N("MaxPool", ["x"], ["y"], kernel_shape=[1 << 40], auto_pad="SAME_UPPER")], [("x", F, [1, 1, 5])], ["y"]
    ),
    "a window of 4 million": lambda: model(
        [N("MaxPool", ["x"], ["y"], kernel_shape=[4 * 10**6], auto_pad="SAME_UPPER")], [("x", F, [1, 1, 5])], ["y"]
    ),
    "a pool of which most lies in the padding": lambda: model(
        [N("AveragePool", ["x"], ["y"], kernel_shape=[64, 3, 10**6], pads=[63, 2, 999_999] * 2)],
        [("x", F, [1, 1, 64, 2, 300])], ["y"],
    ),
    "a plane": lambda: model(
        [N("Resize", ["x", "", "", "n"], ["y"], mode="linear")], [("x", F, [2, 2])], ["y"], {"n": np.array([30_000, 30_000])},
    ),
    "a plane of which most lies outside": lambda: model(
        [N("Resize", ["x", "roi", "", "n"], ["y"], mode="linear", coordinate_transformation_mode="tf_crop_and_resize")],
        [("x", F, [2, 2])], ["y"], {"n": np.array([30_000, 30_000]), "roi": np.float32([-1, -1, 2, 2])},
    ),
    "batch_dims": lambda: model(
        [N("GatherND", ["x", "i"], ["y"], batch_dims=-(1 << 63))], [("x", F, [2, "A", "B"])], ["y"],
        {"i": np.array([[1], [0]])}, opset=13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_at_once(name):
    data = BOMBS[name]().SerializeToString()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with suppress(lstm_infer.LstmInferError):
        lstm_infer.load(data).summary()
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


def test_a_product_that_is_not_folded_is_computed_when_it_runs():
    x = np.zeros((2, 4), np.float32)
    y = lstm_infer.load(of_constants(chain("MatMul", 1), (1500, 1500))).run({"x": x})["y"]
    np.testing.assert_allclose(y, np.full((2, 4), 1500.0**3), rtol=5e-3)  # a sum of 2 million numbers


def test_loops_that_are_not_computed_before_run_in_the_plan():
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(lstm_infer.load(nested_loops(2, 1000)).run({"x": x})["y"], x)


def test_a_nested_choice_runs():
    x = np.ones((3, 4), np.float32)
    net = lstm_infer.load(nested_ifs(24))
    np.testing.assert_array_equal(net.run({"x": x, "cx": np.array(True)})["y"], -x)
    np.testing.assert_array_equal(net.run({"x": x, "cx": np.array(False)})["y"], x)


def test_a_budget_stays_used_up():
    """Whoever catches the error and goes on another way is refused again, and at the end."""

    def work():
        with open_budget(Allowance(work=10)):
            for name in "ab":
                with suppress(lstm_infer.LstmInferError):
                    spend(f"node {name!r}", 11)

    with pytest.raises(lstm_infer.errors.BudgetError, match="node 'a'"):
        work()


def summed():
    """A model that streams."""
    nodes = [N("CumSum", ["x", "axis"], ["y"])]
    data = model(nodes, [("x", F, ["T", 4])], ["y"], {"axis": np.array(0)})
    return lstm_infer.load(data, time_axis={"x": 0})


def test_an_analysis_that_asks_for_too_much_is_not_done_again(monkeypatch):
    net, calls = summed(), []

    def read(*_):
        calls.append(1)
        with suppress(lstm_infer.BudgetError):  # a way that is tried, and left
            spend("the analysis", 10**18)

    monkeypatch.setattr("lstm_infer.answer.read", read)
    for ask in (net.summary, net.stream, lambda: net.inputs, lambda: net.streaming):
        with pytest.raises(lstm_infer.BudgetError, match=r"the analysis: asks for 1\.0e18"):
            ask()
    assert len(calls) == 1


def test_an_analysis_without_memory_is_done_again(monkeypatch):
    net = summed()
    with monkeypatch.context() as m:
        m.setattr("lstm_infer.answer.read", lambda *_: bytearray(1 << 62))
        with pytest.raises(lstm_infer.BudgetError, match="memory"):
            net.stream()
    assert net.stream().step(np.ones(4, np.float32)) is not None


def test_one_budget_for_all_that_is_done_inside():
    with open_budget(Allowance(work=10)) as outer, open_budget(Allowance(work=1000)) as inner:
        assert inner is outer


def test_a_large_file_may_do_more():
    small, large = Allowance.of(1, 0), Allowance.of(1000, 1 << 20)
    assert large.work > small.work
    assert large.held_bytes > small.held_bytes


def test_a_deep_graph_loads():
    names = ["x", *(f"v{i}" for i in range(3000)), "y"]
    nodes = [N("Tanh", [a], [b]) for a, b in pairwise(names)]
    net = lstm_infer.load(model(nodes, [("x", F, ["T", 4])], ["y"]))
    assert net.run({"x": np.ones((2, 4), np.float32)})["y"].shape == (2, 4)


def test_functions_nested_without_end_are_refused():
    calls = [N("f59", ["x"], ["y"], domain="f")]
    with pytest.raises(lstm_infer.OnnxImportError, match="nested"):
        lstm_infer.load(model(calls, [("x", F, ["T", 4])], ["y"], functions=doubling_functions(60, 1)))


def test_memory_that_is_not_there(monkeypatch):
    net = lstm_infer.load(model([N("Tanh", ["x"], ["y"])], [("x", F, ["T", 4])], ["y"]))

    def none(*_):
        raise MemoryError("no memory")

    monkeypatch.setattr(_core, "aligned_empty", none)
    with pytest.raises(lstm_infer.errors.BudgetError, match="no memory"):
        net.run({"x": np.ones((2, 4), np.float32)})


def test_a_loop_without_a_number_of_trips_is_asked_for_its_constants():
    """Its first input is absent: the analysis asks it nothing about that."""
    inputs = [("i", I, []), ("c", T.BOOL, []), ("v", F, None)]
    body = graph(
        [N("Identity", ["c"], ["d"]), N("Tanh", ["v"], ["w"])], "b", inputs, [("d", T.BOOL, []), ("w", F, None)]
    )
    nodes = [N("Loop", ["", "cx", "x"], ["y"], body=body)]
    net = lstm_infer.load(model(nodes, [("x", F, ["T", 4]), ("cx", T.BOOL, [])], ["y"]), time_axis={"x": 0})
    with suppress(lstm_infer.LstmInferError):
        net.summary()


RECURRENT = {"W": np.ones((1, 16, 4), np.float32), "R": np.ones((1, 16, 4), np.float32)}


def recurrent_stream():
    nodes = [N("LSTM", ["x", "W", "R"], ["y"], hidden_size=4)]
    return lstm_infer.load(model(nodes, [("x", F, ["T", 1, 4])], ["y"], RECURRENT)).stream()


def test_an_output_that_there_is_no_memory_for():
    """The compiled path of run: 2^44 frames of nothing, taken from one."""
    stream = recurrent_stream()
    wide = np.lib.stride_tricks.as_strided(np.zeros((1, 1, 4), np.float32), (1 << 44, 1, 4), (16, 16, 4))
    with pytest.raises(lstm_infer.errors.BudgetError, match="memory"):
        stream.run(wide)
    assert stream.step(np.zeros((1, 1, 4), np.float32)).shape == (1, 1, 1, 4)


@pytest.mark.parametrize("what", ["reset", "step", "snapshot", "fork", "state", "run", "summary"])
def test_where_no_call_goes_deeper(what):
    """However deep the caller stands, the error is one of ours; at the very limit no error can be made."""
    stream = recurrent_stream()
    net = lstm_infer.load(model([N("Tanh", ["x"], ["y"])], [("x", F, ["T", 4])], ["y"]))
    name = next(iter(stream.state))
    calls = {
        "reset": stream.reset, "step": lambda: stream.step([[0.0]]), "snapshot": stream.snapshot, "fork": stream.fork,
        "state": lambda: stream.state[name], "run": lambda: net.run({"x": np.ones((2, 4), np.float32)}),
        "summary": net.summary,
    }  # fmt: skip
    errors = []

    def dive():
        try:
            calls[what]()
        except Exception as error:
            errors.append(error)
        dive()

    with suppress(RecursionError):
        dive()
    raw = [error for error in errors if not isinstance(error, lstm_infer.LstmInferError)]
    assert any(isinstance(error, lstm_infer.errors.BudgetError) for error in errors)
    assert len(raw) <= 5
    assert raw == errors[len(errors) - len(raw) :]


def leaky_sums(n, *, chained):
    """n states `o = a s + x`, of which the answer is computed; chained: each adds what the one before became."""
    nodes, before = [], "x"
    for i in range(n):
        nodes += [N("Mul", [f"s{i}", "a"], [f"m{i}"]), N("Add", [f"m{i}", before], [f"o{i}"])]
        before = f"o{i}" if chained else "x"
    nodes.append(N("Sum", [f"o{i}" for i in range(n)], ["y"]))
    inputs = [("x", F, [1, 4]), *((f"s{i}", F, [1, 4]) for i in range(n))]
    return model(nodes, inputs, ["y", *(f"o{i}" for i in range(n))], {"a": np.float32(0.9)})


@pytest.mark.parametrize("chained", [False, True])
def test_many_states_are_paired_at_once(chained):
    net = lstm_infer.load(leaky_sums(160, chained=chained))
    start = time.process_time()
    assert {state.name: state.output for state in net.states} == {f"s{i}": f"o{i}" for i in range(160)}
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", ["tf2onnx_k_conv_lstm", "dyn_gtcrn", "dyn_dfn_erb_decoder"])
def test_honest_files_leave_three_quarters_of_a_budget(name, monkeypatch):
    """Of the files that are known these use the most."""
    opened = []

    class Watched(budget.Budget):
        def __init__(self, allowance):
            super().__init__(allowance)
            opened.append(self)

    monkeypatch.setattr(budget, "Budget", Watched)
    kept = shared_files.ROOT / "tests" / "zoo" / "files" / f"{name}.onnx"
    net = lstm_infer.load(kept if kept.exists() else shared_files.export(name))
    net.summary()
    assert len(opened) > 1
    assert all(4 * one.spent < one.allowance.work for one in opened)


def test_who_decides_is_charged():
    """A walk asks it of each `If` of which one branch fits, in loops again and again."""
    graph = lstm_infer.load(nested_ifs(3))._roles.graph
    (choice,) = (node for node in graph.nodes if node.op == "If")
    with pytest.raises(lstm_infer.BudgetError), open_budget(Allowance(work=10)):
        who_decides(graph, choice, {})


def test_equal_slices_of_a_view_are_not_copied():
    view = np.broadcast_to(np.zeros(1000, np.float32), (20_000, 1000))
    tracemalloc.start()
    assert _equal_slices(N("Loop", [], []), view, 0) and not _equal_slices(N("Loop", [], []), np.arange(3), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < view.nbytes // 2
