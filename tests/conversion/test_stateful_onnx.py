"""ONNX files of one step, run by onnxruntime beside onnxruntime with the whole source."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import shared_files
import stream_models
from conversion.step_files import StepFile, session
from lstm_infer import ConvertError, NotStreamableError
from lstm_infer.cli.command import main
from lstm_infer.conversion.stateful import form
from sums_of_bytes import saturates
from tolerances import like_onnxruntime

ZOO = shared_files.ROOT / "tests" / "zoo" / "files"
OVER_TIME = (
    "dyn_gru_tagger", "ts_stacked_states", "dyn_learned_state", "ts_causal_conv_lstm", "ts_gated_wavenet", "ts_layernorm_loop",
    "ts_lookahead", "ts_rnnoise", "ts_strided_conv_lstm", "ts_line_reader", "ts_lagging_loop", "dyn_battery",
)  # fmt: skip
"""Twelve files: stacked and learned states, histories, a loop, lags of 2 and 4, strides of 4, a loop behind a lag, a sum."""


def zoo(name):
    path = ZOO / f"{name}.onnx"
    return path if path.exists() else next(ZOO.glob(f"*_{name.split('_', 1)[1]}.onnx"))


def converted(source, folder, name="step.onnx", **options):
    """A file of one step."""
    path = folder / name
    report = lstm_infer.convert(source, path, to="onnx", force=True, **options)
    assert report.ok and path.exists()
    return StepFile(path)


def drawn(model, steps, batch, seed=0):
    """Inputs of a whole run."""
    from lstm_infer.drive.inputs import Inputs

    return Inputs(model).draw(np.random.default_rng(seed), steps, batch)


def declared(path, axes, place):
    """The number of steps (place 0) or of signals (1) that a file insists on."""
    model = lstm_infer.load(path)
    ports = {
        port.name: port.type.tensor_type.shape.dim for port in onnx.load(path, load_external_data=False).graph.input
    }
    (name, time), *_ = axes.items()
    batch = next(info.batch_axis for info in model.inputs if info.name == name)
    axis = (time, batch)[place]
    return 0 if axis is None else ports[name][axis].dim_value


def whole(source, feeds):
    """What onnxruntime gives of the whole source."""
    peer = session(source)
    names = [port.name for port in peer.get_outputs()]
    return dict(zip(names, peer.run(names, feeds), strict=True))


@pytest.mark.parametrize("name", OVER_TIME)
def test_steps_give_what_onnxruntime_gives_of_the_whole_source(name, tmp_path):
    path = zoo(name)
    file = converted(path, tmp_path)
    steps, batch = (declared(path, file.stream["inputs"], place) for place in (0, 1))
    steps, batch = steps or 20 * file.stream["chunk"], batch or (2 if file.stream["batch"] is None else 1)
    feeds = drawn(lstm_infer.load(path), steps, batch)
    states = file.first(batch) | {s["input"]: feeds[s["input"]] for s in file.states if s["input"] in feeds}
    side = {key: feeds[key] for key in file.stream["side"]}
    want = whole(path, feeds)
    got = file.run(feeds, steps, batch=batch, side=side, states=states)
    for key, value in got.items():
        like_onnxruntime(value, want[key], key)
    assert {node.domain for node in file.proto.graph.node} == {""}
    assert [(one.domain, one.version) for one in file.proto.opset_import] == [("", 17)]


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("name", ["ts_layernorm_loop", "ts_rnnoise", "dyn_battery"])
def test_opsets_and_chunks_say_the_same(name, opset, tmp_path):
    model = lstm_infer.load(zoo(name))
    one, four = (converted(model, tmp_path, f"{n}.onnx", chunk=n, opset=opset) for n in (1, 4))
    feeds = drawn(model, 40, 1, seed=3)
    for key, value in one.run(feeds, 40).items():
        like_onnxruntime(four.run(feeds, 40)[key], value, key)
    assert one.proto.opset_import[0].version == opset
    onnx.checker.check_model(four.proto, full_check=True)


def test_a_batch_of_three_is_three_signals(tmp_path):
    model = lstm_infer.load(zoo("ts_causal_conv_lstm"))
    file = converted(model, tmp_path, chunk=4)
    axis = {info.name: info.batch_axis for info in (*model.inputs, *model.outputs)}
    feeds = drawn(model, 24, 3)
    together = file.run(feeds, 24, batch=3)
    for row in range(3):
        alone = file.run({key: np.take(value, [row], axis[key]) for key, value in feeds.items()}, 24)
        for key, value in alone.items():
            like_onnxruntime(np.take(together[key], [row], axis[key]), value, key)
    fixed = converted(model, tmp_path, "three.onnx", batch=3)
    assert {port.shape[0] for port in fixed.session.get_inputs() if port.name in feeds} == {3}
    for key, value in fixed.run(feeds, 24, batch=3).items():
        like_onnxruntime(value, together[key], key)


def test_learned_states_stand_in_the_metadata_and_beside_the_file(tmp_path):
    path = zoo("dyn_learned_state")
    beside = tmp_path / "first.npz"
    file = converted(path, tmp_path, states_file=beside)
    first = file.first()
    learned = [array for array in first.values() if array.any()]
    assert learned
    with np.load(beside) as held:
        assert set(held.files) == set(first)
        for key, value in first.items():
            np.testing.assert_array_equal(held[key], value)
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    for array in learned:  # the numbers of the source
        assert any(w.size == array.size and np.array_equal(w.reshape(-1), array.reshape(-1)) for w in weights)


@pytest.mark.parametrize(("name", "drop", "flush"), [("ts_lookahead", 2, 2), ("ts_causal_conv_lstm", 0, 0)])
def test_a_lag_is_said_in_frames_to_drop_and_to_flush(name, drop, flush, tmp_path):
    path = zoo(name)
    file = converted(path, tmp_path)
    (said,) = file.stream["outputs"].values()
    assert (said["drop"], file.stream["flush"]) == (drop, flush)
    feeds = drawn(lstm_infer.load(path), 9, 1)
    want = next(iter(whole(path, feeds).values()))
    got = next(iter(file.run(feeds, 9).values()))
    assert got.shape == want.shape
    like_onnxruntime(got, want)


def test_a_stride_needs_a_multiple(tmp_path):
    model = lstm_infer.load(zoo("ts_strided_conv_lstm"))
    assert converted(model, tmp_path).stream["chunk"] == 4
    assert converted(model, tmp_path, chunk=8).stream["chunk"] == 8
    with pytest.raises(ConvertError, match=r"chunk: 6 is no multiple of \d+"):
        lstm_infer.convert(model, tmp_path / "six.onnx", chunk=6)
    assert not (tmp_path / "six.onnx").exists()


def _counting():
    """frame [1, 4], pos int64 [1] -> y = frame + table[pos % 5], next pos; and s2 = tanh(s + frame)."""
    table = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Mod", ["pos", "five"], ["at"]),
        helper.make_node("Gather", ["table", "at"], ["row"]),
        helper.make_node("Add", ["s", "frame"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["s_next"]),
        helper.make_node("Add", ["s_next", "row"], ["y"]),
        helper.make_node("Add", ["pos", "one"], ["pos_next"]),
    ]
    frame = [1, 4]
    graph = helper.make_graph(
        nodes,
        "counting",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in (("frame", 1, frame), ("s", 1, frame), ("pos", 7, [1]))],
        [
            helper.make_tensor_value_info(n, t, s)
            for n, t, s in (("y", 1, frame), ("s_next", 1, frame), ("pos_next", 7, [1]))
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array(5, np.int64), "five"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("chunk", [1, 4])
def test_ports_that_are_states_keep_their_names_and_types(chunk, tmp_path):
    source = _counting()
    file = converted(source, tmp_path, chunk=chunk, states={"pos": "pos_next", "s": "s_next"})
    assert {(s["input"], s["output"], s["dtype"]) for s in file.states} == {
        ("s", "s_next", "float32"),
        ("pos", "pos_next", "int64"),
    }
    frames = np.random.default_rng(2).normal(size=(12, 1, 4)).astype(np.float32)
    got = file.run({"frame": frames}, 12)["y"]
    peer, state, want = session(source), {"s": np.zeros((1, 4), np.float32), "pos": np.zeros(1, np.int64)}, []
    for frame in frames:
        y, s, pos = peer.run(["y", "s_next", "pos_next"], {"frame": frame, **state})
        want.append(y)
        state = {"s": s, "pos": pos}
    like_onnxruntime(got, np.stack(want))
    assert int(file.last["pos"][0]) == 12


def test_names_are_valid_and_meet_no_others(tmp_path):
    model = onnx.load_from_string(stream_models.hidden_state())
    for port, name in ((model.graph.input[0], "rec_h"), (model.graph.output[0], "rec_c_out")):
        old, port.name = port.name, name
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [name if one == old else one for one in names]
    file = converted(model.SerializeToString(), tmp_path)
    ports = [port.name for port in (*file.session.get_inputs(), *file.session.get_outputs())]
    assert len(ports) == len(set(ports)) == 6
    assert {"rec_h", "rec_c_out"} < set(ports)
    assert all(name.isidentifier() for name in ports)
    x = np.random.default_rng(0).normal(size=(9, 1, stream_models.INPUTS)).astype(np.float32)
    like_onnxruntime(
        file.run({"rec_h": x}, 9)["rec_c_out"], whole(model.SerializeToString(), {"rec_h": x})["rec_c_out"]
    )


def test_a_file_of_one_step_converts_again(tmp_path):
    """Its states are ports now: the engine and a second conversion take them as the metadata say."""
    model = lstm_infer.load(zoo("ts_causal_conv_lstm"))
    once = converted(model, tmp_path, "once.onnx")
    pairs = {state["input"]: state["output"] for state in once.states}
    again = converted(tmp_path / "once.onnx", tmp_path, "again.onnx", states=pairs)
    assert {(s["input"], s["output"]) for s in again.states} == set(pairs.items())
    feeds = drawn(model, 16, 1)
    want = once.run(feeds, 16)
    states = again.first()
    name, axis = next(iter(once.stream["inputs"].items()))
    got = [again.step({name: np.take(feeds[name], [t], axis)}, states, {}) for t in range(16)]
    for key, value in want.items():
        like_onnxruntime(np.concatenate([one[key] for one in got], once.stream["outputs"][key]["axis"]), value, key)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 12}, "opset: 12"), ({"precision": "f16"}, "precision: f16 for all layers cannot be written"),
        ({"precision": {"MatMul_2": "int8"}}, "precision: int8 for 'MatMul_2' cannot be written"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_be_is_refused(options, said, tmp_path):
    with pytest.raises(ConvertError, match=said):
        lstm_infer.convert(stream_models.hidden_state(), tmp_path / "no.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_of_f32_may_be_asked_for_by_layer(tmp_path):
    assert lstm_infer.convert(stream_models.hidden_state(), tmp_path / "step.onnx", precision={"rec": "f32"}).ok


def test_a_model_that_needs_its_end_is_refused_with_the_reason(tmp_path):
    with pytest.raises(NotStreamableError, match="bidirectional"):
        lstm_infer.convert(zoo("ts_beat_tracker"), tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_is_not_left(tmp_path, monkeypatch):
    right = form.model_of

    def wrong(draft, name, metadata, said):
        draft.consts = {
            key: array * np.float32(1.001) if array.dtype == np.float32 and array.ndim == 3 else array
            for key, array in draft.consts.items()
        }
        return right(draft, name, metadata, said)

    monkeypatch.setattr(form, "model_of", wrong)
    with pytest.raises(ConvertError, match="not what the source gives"):
        lstm_infer.convert(stream_models.hidden_state(), tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_what_the_source_says_of_itself_is_kept(tmp_path):
    """Sample rates and the like, which callers read from the file that they run."""
    model = onnx.load_from_string(stream_models.hidden_state())
    onnx.helper.set_model_props(model, {"sample_rate": "16 kHz", "lstm_infer.states": "another", "none": ""})
    model.domain, model.model_version, model.doc_string = "org.example", 7, "é"
    file = converted(model, tmp_path)
    meta = file.session.get_modelmeta()
    assert (meta.domain, meta.version, meta.description) == ("org.example", 7, "é")
    assert meta.custom_metadata_map["sample_rate"] == "16 kHz" and len(meta.custom_metadata_map) == 4
    assert [state["of"] for state in file.states] == ["rec.h", "rec.c"]


def test_from_the_command_line(tmp_path, capsys):
    source = tmp_path / "in.onnx"
    source.write_bytes(stream_models.state_io())
    args = ["convert", str(source), str(tmp_path / "out.onnx"), "--chunk", "4", "--opset", "13"]
    assert main([*args, "--states", str(tmp_path / "first.npz"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["facts"]["opset"] == "13" and said["facts"]["batch"] == "open"
    assert {p.name for p in tmp_path.iterdir()} == {"in.onnx", "out.onnx", "first.npz"}
    with np.load(tmp_path / "first.npz") as held:
        assert sorted(held.files) == ["c0", "h0"]


@pytest.mark.filterwarnings("ignore:the file has")  # its example's length, opened
def test_half_and_double_compute_in_float32(tmp_path):
    """As the engine does: the ports keep their types."""
    for name, kind in (("dyn_lstm_half", TensorProto.FLOAT16), ("dyn_lstm_double", TensorProto.DOUBLE)):
        file = converted(shared_files.export(name), tmp_path)
        assert file.proto.graph.input[0].type.tensor_type.elem_type == kind
        assert file.proto.graph.output[0].type.tensor_type.elem_type == kind
        assert {tensor.data_type for tensor in file.proto.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}


def _lagging_scan():
    """x [T, B, 2] looks one step ahead, then a Scan adds up half of what it had; its state is a port."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["s", "half"], ["kept"]),
            helper.make_node("Add", ["kept", "step"], ["next"]),
            helper.make_node("Identity", ["next"], ["row"]),
        ],
        "body",
        [helper.make_tensor_value_info(name, 1, None) for name in ("s", "step")],
        [helper.make_tensor_value_info(name, 1, None) for name in ("next", "row")],
    )
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 2, 0]),
        helper.make_node("Conv", ["turned", "K"], ["ahead"], pads=[1, 1], kernel_shape=[3]),
        helper.make_node("Transpose", ["ahead"], ["steps"], perm=[2, 0, 1]),
        helper.make_node("Scan", ["s0", "steps"], ["sn", "y"], body=body, num_scan_inputs=1),
    ]
    weights = {"K": np.random.default_rng(4).normal(size=(2, 2, 3)).astype(np.float32), "half": np.float32(0.5)}
    graph = helper.make_graph(
        nodes,
        "lagging",
        [helper.make_tensor_value_info("x", 1, ["T", "B", 2]), helper.make_tensor_value_info("s0", 1, ["B", 2])],
        [helper.make_tensor_value_info("y", 1, ["T", "B", 2]), helper.make_tensor_value_info("sn", 1, ["B", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_state_stands_still_until_the_signal_has_come_to_it(chunk, tmp_path):
    """A port that begins with something is not changed by the steps that the lag puts in front."""
    source = _lagging_scan()
    file = converted(source, tmp_path, chunk=chunk)
    rng = np.random.default_rng(5)
    x, s0 = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 2, 2), (2, 2)))
    got = file.run({"x": x}, 12, batch=2, states=file.first(2) | {"s0": s0})
    want = whole(source, {"x": x, "s0": s0})
    like_onnxruntime(got["y"], want["y"])
    assert file.stream["outputs"]["y"]["drop"] == 1


def test_rows_of_a_batch_inside_time_are_counted(tmp_path):
    """An axis that holds the signals of each step side by side."""
    model = onnx.load_from_string(stream_models.hidden_state())
    del model.graph.output[:]
    model.graph.node.append(helper.make_node("Reshape", ["y", "flat"], ["rows"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, stream_models.CLASSES]), "flat"))
    model.graph.output.append(helper.make_tensor_value_info("rows", 1, [None, stream_models.CLASSES]))
    file = converted(model.SerializeToString(), tmp_path, chunk=4)
    x = np.random.default_rng(6).normal(size=(8, 3, stream_models.INPUTS)).astype(np.float32)
    like_onnxruntime(file.run({"x": x}, 8, batch=3)["rows"], whole(model.SerializeToString(), {"x": x})["rows"])


def test_signals_that_meet_are_written_one_by_one(tmp_path):
    """The report says why."""
    model = onnx.load_from_string(stream_models.hidden_state())
    for node in model.graph.node:
        node.input[:] = ["shared" if name == "x" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Softmax", ["x"], ["shared"], axis=1))
    report = lstm_infer.convert(model, tmp_path / "one.onnx", to="onnx")
    assert report.ok and report.facts["batch"].startswith("1 (node")
    assert "brings the signals of a batch together" in report.facts["batch"]


@pytest.mark.parametrize("kind", ["time", "frame"])
def test_random_graphs(kind, monkeypatch):
    """The first of those that `tests/review/hunt.py time 0:2000 --convert` goes through."""
    monkeypatch.syspath_prepend(str(shared_files.ROOT / "tests" / "review"))
    from convert_checks import try_convert

    monkeypatch.setattr(form, "LONG", 48)
    said = [try_convert(seed, kind=kind) for seed in range(60)]
    assert sum(text.startswith("converted") for text in said) > 20


def test_a_model_that_rounds_by_each_step_takes_several_in_turn(tmp_path):
    """Its chunk is a loop over steps, each with scales of its own."""
    if saturates():
        pytest.skip("inside of a Scan onnxruntime's sums of bytes saturate on this CPU")
    model = lstm_infer.load(zoo("q_char_lm"))
    one, four = (converted(model, tmp_path, f"{n}.onnx", chunk=n) for n in (1, 4))
    feeds = drawn(model, 12, 1, seed=2)
    for key, value in one.run(feeds, 12).items():
        np.testing.assert_array_equal(four.run(feeds, 12)[key], value)
    assert [node.op_type for node in four.proto.graph.node].count("Scan") == 1


def test_a_memory_of_any_length_stays_open(tmp_path):
    """What is attended to has its length in each call, at sizes that neither the walk nor the check had."""
    path = zoo("ts_luong_attention")
    file = converted(path, tmp_path)
    (name, axis) = next(place for size, place in file.stream["sizes"].items() if size != "batch")
    assert name == "memory"
    model = lstm_infer.load(path)
    rng = np.random.default_rng(8)
    for length in (1, 5, 200):
        feeds = drawn(model, 6, 2, seed=length)
        shape = list(feeds[name].shape)
        shape[axis] = length
        feeds[name] = rng.normal(size=shape).astype(np.float32)
        states = file.first(2) | {s["input"]: feeds[s["input"]] for s in file.states if s["input"] in feeds}
        side = {key: feeds[key] for key in file.stream["side"]}
        got, want = file.run(feeds, 6, batch=2, side=side, states=states), whole(path, feeds)
        for key, value in got.items():
            like_onnxruntime(value, want[key], key)
