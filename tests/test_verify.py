"""verify: finds what is wrong, and says what it could not compare."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import shared_files
import stream_models

sys.path.insert(0, str(Path(__file__).parent / "review"))
import frame_graphs

pytest.importorskip("onnxruntime")
from lstm_infer.cli import peer
from lstm_infer.cli.sides import OtherSide
from lstm_infer.cli.verify import compare, verify
from lstm_infer.drive.driver import Driver
from lstm_infer.drive.inputs import Inputs, spec_or_error
from lstm_infer.drive.through import run_signal


@pytest.mark.filterwarnings("ignore:states were paired")  # frame: x and h are alike but for their names
@pytest.mark.parametrize(
    "name", ["state_io", "hidden_state", "last_step", "centred_conv", "both_ways", "stateless", "frame"]
)
def test_right_models_are_found_right(name):
    found = verify(getattr(stream_models, name)())
    assert found.ok and found.compared and found.status == 0
    assert found.streams == (name not in ("both_ways", "stateless"))
    assert bool(found.not_streamable) == (not found.streams)
    assert json.loads(json.dumps(found.to_dict()))["status"] == 0


def test_a_file_of_one_step_whose_output_has_no_time_axis():
    """A run gives the value behind its last step, as for any output without time."""
    data = frame_graphs.draw(7).data
    found = verify(data)
    assert found.ok and found.streams
    model = lstm_infer.load(data)
    assert model.streaming.mode == "loop" and model.streaming.outputs == {"y0": "frame"}
    drive = Driver(model, Inputs(model), spec_or_error(model))
    feeds = drive.signal(np.random.default_rng(0), 5, 1)
    made = run_signal(model, feeds, chunk=2)
    want, _ = drive.by_hand(model.run, feeds, 5)
    np.testing.assert_array_equal(made.arrays["y0"], want["y0"])
    assert made.time["y0"] is None


def over_steps(before, after, consts):
    """x [B, T, 3] -> before -> "steps" [T', B, 3] -> GRU -> "seq" [T', B, 4] -> after -> y."""
    rng = np.random.default_rng(0)
    weights = {"W": rng.normal(0, 0.5, (1, 12, 3)), "R": rng.normal(0, 0.5, (1, 12, 4))}
    held = {k: np.asarray(v, np.float32) for k, v in weights.items()} | {"one": np.array([1])} | consts
    gru = helper.make_node("GRU", ["steps", "W", "R"], ["Y"], hidden_size=4)
    graph = helper.make_graph(
        [*before, gru, helper.make_node("Squeeze", ["Y", "one"], ["seq"]), *after],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_a_signal_of_no_step_is_not_shown_to_onnxruntime():
    """It aborts the process where a GRU has nothing to run over: every third step from the second on, of one."""
    cut = helper.make_node("Slice", ["x", "one", "all", "one", "three"], ["cut"])
    turned = helper.make_node("Transpose", ["cut"], ["steps"], perm=[1, 0, 2])
    given = helper.make_node("Identity", ["seq"], ["y"])
    found = verify(over_steps([cut, turned], [given], {"all": np.array([2**31]), "three": np.array([3])}), n_seeds=1)
    assert found.ok and found.streams
    assert any("no step" in reason for reason in found.refusals), found.refusals


def test_a_window_that_does_not_fit_is_nobodys_fault():
    """onnx's evaluator makes of it an answer of no steps; onnxruntime and we refuse."""
    turned = helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2])
    channels = helper.make_node("Transpose", ["seq"], ["channels"], perm=[1, 2, 0])
    window = helper.make_node("Conv", ["channels", "K"], ["y"], kernel_shape=[3])
    kernel = np.random.default_rng(1).normal(0, 0.5, (3, 4, 3)).astype(np.float32)
    assert verify(over_steps([turned], [channels, window], {"K": kernel}), n_seeds=1).ok


def test_all_three_comparisons_are_made():
    rows = {(row.case, row.output) for row in verify(stream_models.state_io()).rows}
    outputs = ("y", "hn", "cn")
    assert rows == {("whole", n) for n in outputs} | {("split", n) for n in outputs} | {("stepped", "y")}


def changed(data, name, change):
    model = onnx.load_from_string(data)
    (init,) = (init for init in model.graph.initializer if init.name == name)
    init.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(init).copy()), name))
    return model.SerializeToString()


@pytest.mark.parametrize("name", ["W", "R", "B", "D"])
def test_one_wrong_weight_is_found(name):
    def nudge(array):
        array.reshape(-1)[3] += 0.01
        return array

    data = stream_models.state_io()
    found = verify(data, model=lstm_infer.load(changed(data, name, nudge)))
    assert found.status == 1
    assert any(row.case == "whole" and row.worst_excess > 1 for row in found.rows)


def test_a_stream_that_forgets_is_found(monkeypatch):
    data = stream_models.hidden_state()
    honest = lstm_infer.Stream.run

    def forgetful(self, x, out=None):
        self.reset()
        return honest(self, x, out)

    monkeypatch.setattr(lstm_infer.Stream, "run", forgetful)
    found = verify(data)
    assert found.status == 1
    assert {row.case for row in found.rows if not row.ok} == {"split", "stepped"}


def sums_of_bytes():
    """h -> 8 bits -> a product with the largest weights there are -> tanh -> next h; two products share a zero point."""
    zero, scale, step = np.int8(0), np.float32(0.001), np.float32(1 / 255)
    shared = {"z": zero, "s": scale, "step": step, "u": np.uint8(0), "half": np.float32(0.5)}
    weights = {"w": np.full((16, 16), 127, np.int8), "v": np.full((16, 16), -128, np.int8)}
    nodes = [helper.make_node(op, ins.split(), outs.split(), **attrs) for op, ins, outs, attrs in (
        ("Clip", "h low high", "h1", {}), ("Add", "x h1", "sum", {}), ("QuantizeLinear", "sum step u", "q", {}),
        ("MatMulInteger", "q w u z", "p", {}), ("MatMulInteger", "q v u z", "o", {}), ("Add", "p o", "po", {}),
        ("Cast", "po", "f", {"to": 1}), ("Mul", "f s", "g", {}), ("Tanh", "g", "t", {}),
        ("Mul", "t half", "hn", {}), ("Cast", "p", "pf", {"to": 1}), ("Mul", "pf s", "y", {}),
    )]  # fmt: skip
    shared |= {"low": np.float32(0), "high": np.float32(1)}
    ports = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 16]) for n in names] for names in ("xh", ("y", "hn"))
    )
    inits = [numpy_helper.from_array(np.asarray(a), n) for n, a in (shared | weights).items()]
    graph = helper.make_graph(nodes, "bytes", *ports, inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_sums_of_bytes_are_compared_as_they_are(tmp_path):
    """onnxruntime's own saturate on CPUs without VNNI unless it is told otherwise."""
    states = {"h": "hn"}
    assert verify(sums_of_bytes(), states=states).status == 0
    report = lstm_infer.convert(sums_of_bytes(), tmp_path / "step.onnx", states=states)
    assert report.ok and (tmp_path / "step.onnx").exists()


def test_exact_sums_are_asked_of_onnxruntime_where_they_are_compared():
    named = peer.open_session(sums_of_bytes()).get_session_options().get_session_config_entry
    assert named(peer.EXACT) == "0"
    alone = onnx.load_from_string(sums_of_bytes())
    alone.graph.node[4].input[3] = "z2"
    alone.graph.initializer.append(numpy_helper.from_array(np.asarray(np.int8(0)), "z2"))
    reference = peer.Reference(alone, lstm_infer.load(alone)._graph, {})
    assert reference._session.get_session_options().get_session_config_entry(peer.EXACT) == "1"
    x = {name: np.ones((1, 16), np.float32) for name in "xh"}
    np.testing.assert_allclose(reference.run(x)["y"], 16 * 255 * 127 * 0.001, rtol=1e-6)


DIFFERENT = {
    "dyn_rnn_tanh": "an unrolled loop, which is right at every length in the engine only",
    "kexport_torch_lstm": "the same",
    "ts_cell_loop_unrolled": "the same",
    "q_dynamic_lstm": "one scale for a run, one for each step of a stream",
    "tf2onnx_k_lstm_stateful": "one step a call, and the state inside",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_run_and_peers_cannot_say_is_no_alarm(name, monkeypatch):
    """A run and the stream differ by what the file is; a stream that loses its state is found all the same."""
    source = shared_files.EXPORTS / f"{name}.onnx"
    if not source.exists():
        pytest.skip("no exports here")
    found = verify(source, n_seeds=1)
    assert found.status == 0 and not found.missing, (found.rows, found.missing)
    honest = {key: getattr(lstm_infer.Stream, key) for key in ("run", "step")}

    def crossed(stream):
        """The next to last of its states and the last, where they are alike."""
        one, two = [*stream.state, ""][-3:-1] if len(stream.state) > 1 else ("", "")
        if one:
            stream.state = {one: stream.state[two], two: stream.state[one]}

    breaks = [lambda stream: stream.reset()] + [crossed] * (len(lstm_infer.load(source).states) > 1)
    for spoil in breaks:
        for key, call in honest.items():
            spoiled = lambda self, x, call=call, spoil=spoil: (spoil(self), call(self, x))[1]  # noqa: E731
            monkeypatch.setattr(lstm_infer.Stream, key, spoiled)
        assert verify(source, n_seeds=1).status == 1, spoil.__name__


def pooled():
    """x [B, I, T], averaged over two steps, then an LSTM: one step alone fits no window."""
    model = onnx.load_from_string(stream_models.centred_conv())
    node = helper.make_node("AveragePool", ["x"], ["conv"], name="pool", kernel_shape=[2], strides=[2])
    model.graph.node[0].CopyFrom(node)
    (init,) = (init for init in model.graph.initializer if init.name == "W")
    init.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(init)[..., :5]), "W"))
    return model.SerializeToString()


def test_what_only_onnxruntime_makes_up_is_no_alarm():
    """At T = 1 it gives a step that onnx's evaluator, and the framework, do not have."""
    found = verify(pooled())
    assert found.status == 0 and found.streams
    assert sum(n for reason, n in found.not_comparable.items() if "only onnxruntime takes it" in reason) == 6


def test_silence_is_no_proof(monkeypatch):
    """What was not compared is said, and the status is not that of a right model."""
    data = stream_models.state_io()
    monkeypatch.setattr("lstm_infer.cli.peer.Reference.run", lambda self, feeds: None)
    found = verify(data, n_seeds=1)
    assert found.status == 2
    assert [text.split("'")[1] for text in found.missing] == ["y", "hn", "cn"]


def test_numbers_that_are_none_prove_nothing():
    """Outputs that are NaN on both sides agree, and say nothing."""
    model = onnx.load_from_string(stream_models.hidden_state())
    (init,) = (init for init in model.graph.initializer if init.name == "D")
    init.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(init), np.nan), "D"))
    found = verify(model.SerializeToString(), n_seeds=1)
    assert found.status == 2 and "'y'" in found.missing[0]


def test_a_switch_is_set_to_what_the_graph_compares_it_with():
    found = verify(stream_models.switched(), n_seeds=1)
    assert found.status == 0 and not found.missing
    assert {row.where.rpartition(", ")[2] for row in found.rows} <= {"which=1", "which=2"}
    lying = lstm_infer.load(changed(stream_models.switched(), "W2", lambda w: w + np.float32(0.01)))
    wrong = [row.where for row in verify(stream_models.switched(), model=lying, n_seeds=1).rows if not row.ok]
    assert wrong and all("which=2" in where for where in wrong)


def test_a_stream_that_is_refused_though_it_was_promised_is_wrong(monkeypatch):
    def refuse(self, batch=1, **more):
        raise lstm_infer.ShapeError("no")

    monkeypatch.setattr(lstm_infer.Model, "stream", refuse)
    found = verify(stream_models.state_io(), n_seeds=1)
    assert found.status == 1 and any("it streams, yet: no" in row.detail for row in found.rows)


def test_hidden_states_are_compared_step_by_step():
    """The other side gets them as ports: then it is driven a step a call, as the stream is."""
    found = verify(stream_models.hidden_state(), n_seeds=1)
    assert {row.case: row.n for row in found.rows}["stepped"] == 2


def test_a_rounding_that_decides_is_no_alarm():
    """Where the other side itself says two things of inputs a hair apart, either is right, and nothing else is."""
    data = stream_models.stateless()
    model = lstm_infer.load(data)
    inputs = Inputs(model)
    other = OtherSide(data, model, inputs, spec_or_error(model), 0)

    def rounded(feeds):
        return {"y": np.rint(feeds["x"] * 8)}

    feeds = {"x": np.float32([[0.0625, 0.3]])}  # a half, and no half
    want = rounded(feeds)
    for got, right in (([[0, 2]], True), ([[1, 2]], True), ([[0, 3]], False), ([[2, 2]], False)):
        mine = {"y": np.float32(got)}
        judged = other.judged(rounded, feeds, mine, want)
        assert (compare(mine["y"], judged["y"])[1] <= 1) == right
    assert other.ties == 1


def test_a_process_that_dies_is_noticed():
    from lstm_infer.cli.peer import survives

    assert survives(lambda: None) and survives(lambda: 1 / 0)
    assert not survives(lambda: os.kill(os.getpid(), signal.SIGSEGV))


def test_a_file_that_kills_onnxruntime_is_compared_all_the_same():
    """With all its optimisations onnxruntime 1.32 dies on this one."""
    path = Path(__file__).parent / "zoo" / "files" / "fp16_gru_tagger.onnx"
    found = verify(path, n_seeds=1)
    assert found.status == 0 and "onnxruntime" in found.reference


def test_an_error_of_the_engine_alone_is_wrong(monkeypatch):
    def refuse(self, feeds, outputs=None):
        raise lstm_infer.ShapeError("no")

    monkeypatch.setattr(lstm_infer.Model, "run", refuse)
    found = verify(stream_models.stateless())
    assert found.status == 1 and "ShapeError: no" in found.rows[0].detail


def layout_one():
    """layout=1: onnxruntime refuses it."""
    rng = np.random.default_rng(0)
    weights = {"W": rng.uniform(-1, 1, (1, 12, 5)), "R": rng.uniform(-1, 1, (1, 12, 3))}
    node = helper.make_node("LSTM", ["x", "W", "R"], ["", "y"], name="rec", hidden_size=3, layout=1)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 1, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_where_onnxruntime_refuses_the_reference_answers():
    found = verify(layout_one())
    assert found.status == 0 and set(found.reference) == {"onnx.reference"}
    assert any("layout" in reason for reason in found.refusals)


def test_where_nobody_can_say_the_status_is_two():
    model = layout_one()
    model.graph.node[0].attribute.append(helper.make_attribute("clip", 0.2))  # the reference would ignore it
    found = verify(model)
    assert found.status == 2 and not found.compared and sum(found.not_comparable.values()) == 30


@pytest.mark.filterwarnings("ignore:the file has .* of its example frozen in")
def test_a_repaired_file_is_compared_at_its_own_sizes_only():
    """A Reshape with T = 6 written into it: at T=2, B=3 onnxruntime returns [6, 1, H] without a word."""
    model = onnx.load_from_string(stream_models.hidden_state())
    model.graph.node[1].CopyFrom(helper.make_node("Reshape", ["Y", "six"], ["seq"], name="merge"))
    shape = np.array([6, -1, stream_models.HIDDEN])
    model.graph.initializer.append(numpy_helper.from_array(shape, "six"))
    loaded = lstm_infer.load(model)
    assert any("time was frozen at 6" in text for text in loaded.repaired)
    found = verify(model, model=loaded)
    assert found.status == 0 and found.streams and not found.missing
    assert {(row.case, row.n) for row in found.rows} == {("whole", 12), ("split", 24), ("stepped", 12)}
    assert {row.where.split(",")[0] for row in found.rows if row.case == "whole"} == {"T=6"}
    with_it = [row for row in found.rows if row.case == "stepped"]
    assert all(row.worst_excess < 1 for row in with_it)  # six steps a call, the states carried


def embedding():
    """tokens [T, B] -> a table of 7 rows -> RNN."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["x"]),
        helper.make_node("RNN", ["x", "W", "R", "", "lens"], ["y"], name="rec", hidden_size=3),
    ]
    weights = {
        "table": rng.uniform(-1, 1, (7, 4)),
        "W": rng.uniform(-1, 1, (1, 3, 4)),
        "R": rng.uniform(-1, 1, (1, 3, 3)),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["T", "B"]),
            helper.make_tensor_value_info("lens", TensorProto.INT32, ["B"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", 1, "B", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_integers_are_drawn_inside_tables_and_sequences():
    inputs = Inputs(lstm_infer.load(embedding()))
    drawn = [inputs.draw(np.random.default_rng(seed), 5, 3) for seed in range(40)]
    assert {int(n) for one in drawn for n in one["tokens"].reshape(-1)} == set(range(7))
    assert {int(n) for one in drawn for n in one["lens"]} == set(range(6))
    assert verify(embedding()).status == 0


def test_compare():
    one = np.float32([1, np.nan, np.inf, 0])
    assert compare(one, one)[1] == 0
    assert compare(one, one[:3])[1] == np.inf
    assert compare(one, one.astype(np.float64))[1] == np.inf
    assert compare(np.float32([np.nan]), np.float32([1]))[1] == np.inf
    assert compare(np.float32([np.inf]), np.float32([1]))[1] == np.inf
    assert compare(np.float32([1.0002]), np.float32([1]))[1] > 1 > compare(np.float32([1.0001]), np.float32([1]))[1]
    assert compare(np.float32([0.0]), np.float32([-0.0]), bits=True)[1] == np.inf
    assert compare(np.int64([1]), np.int64([2]))[1] == np.inf


def test_without_onnxruntime_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(lstm_infer.LstmInferError, match=r"pip install 'lstm_infer\[bench\]'"):
        verify(stream_models.stateless())
