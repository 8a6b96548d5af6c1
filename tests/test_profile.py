"""`bench --profile`: the steps that it times are those of the real call, and what it says of them is true."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lstm_infer
import shared_files
import stream_models
import tolerances
from lstm_infer.cli import command, machine
from lstm_infer.cli import profile as module
from lstm_infer.cli.profile import bounds, profile
from lstm_infer.program.calls import HostCall

STREAMING = ("hidden_state", "state_io", "last_step", "frame", "padded_in_front", "bands")
I, H, C = stream_models.INPUTS, stream_models.HIDDEN, stream_models.CLASSES
PANELS = -(-H // 16)
LSTM_MACS = PANELS * 16 * 4 * (I + H)

pytestmark = pytest.mark.filterwarnings("ignore:states were paired")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Times are not looked at: few rounds."""
    monkeypatch.setattr(module, "PIECE_NS", 500)
    monkeypatch.setattr(module, "ROUNDS", 2)
    monkeypatch.setattr(machine, "ROUNDS", 1)
    monkeypatch.setattr(machine, "PIECE_NS", 1000)


@pytest.fixture
def path(tmp_path):
    """Writes a model of stream_models and returns its path."""

    def write(name):
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(getattr(stream_models, name)())
        return str(file)

    return write


@pytest.mark.parametrize("name", STREAMING)
def test_the_steps_together_are_the_call(name):
    """Run one after the other over the memory of the profile they give the outputs of a stream's step, to the bit."""
    model = lstm_infer.load(getattr(stream_models, name)())
    seen = module._take(model, None, 3)
    stream_plan = model.stream()._plan
    assert [module._slot(call) for call in seen.placed.calls] == list(stream_plan.blocks[-1].program.slots)
    begin = seen.state.copy()
    for call in seen.placed.calls:
        step = module._Repeated(seen, [call])
        step.repeat(3)
        step.ns(0)  # three times, put back, then once
    outputs = [base.copy() for base in seen.bases[-len(stream_plan.spec.outputs) :]]
    seen.state[:] = begin
    again = seen.call()
    again = list(again.values()) if isinstance(again, dict) else [again]
    for output, want in zip(outputs, again, strict=True):
        tolerances.exact(output.reshape(want.shape), want, name)


@pytest.mark.parametrize("name", STREAMING)
def test_shares_and_sums(name):
    found = profile(getattr(stream_models, name)())
    assert sum(step.share for step in found.steps) == pytest.approx(1)
    assert sum(step.us for step in found.steps) == pytest.approx(found.sum)
    assert found.bounds.macs == sum(step.cost.macs for step in found.steps)
    assert all(step.at_best >= 2 * step.cost.macs / found.bounds.peak / 1e3 for step in found.steps)
    assert found.whole > 0 and found.together > 0 and all(step.us >= 0 for step in found.steps)
    assert all(step.node and step.slot for step in found.steps)


def test_multiply_adds_and_bytes_of_an_lstm_and_its_head():
    found = profile(stream_models.hidden_state())
    lstm, head = found.steps
    assert (lstm.node, lstm.op, lstm.slot) == ("rec", "LSTM", "lstm_f32")
    assert lstm.cost.macs == LSTM_MACS
    assert lstm.cost.weight_bytes == 4 * (LSTM_MACS + PANELS * 4 * 16)  # and the biases
    states = 2 * 4 * H
    assert lstm.cost.read_bytes == 4 * I + states and lstm.cost.written_bytes == 4 * H + states
    assert (head.op, head.cost.macs, head.cost.written_bytes) == ("MatMul", H * C, 4 * C)
    assert lstm.gflops == pytest.approx(2 * LSTM_MACS / (1e3 * lstm.us))


def test_a_run_of_more_steps_multiplies_more():
    found = {T: profile(stream_models.hidden_state(), steps=T) for T in (3, 12)}
    assert found[3].what == "a run of 3 steps"
    assert found[12].bounds.macs == 4 * found[3].bounds.macs == 12 * (LSTM_MACS + H * C)
    assert found[12].bounds.weight_bytes == found[3].bounds.weight_bytes


@pytest.mark.parametrize("name, what", [("both_ways", "a run of 100 steps"), ("centred_conv", "a chunk of 16 steps")])
def test_what_has_no_step(name, what):
    found = profile(getattr(stream_models, name)())
    assert found.what == what and found.steps


def test_a_table_reads_what_it_picks():
    """An embedding: of its table only the rows that are asked for count."""
    from onnx import TensorProto, helper, numpy_helper

    table = np.ones((1000, 8), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "k"], ["y"], name="pick")],
        "g",
        [helper.make_tensor_value_info("k", TensorProto.INT64, ["B"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 8])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = profile(model.SerializeToString())
    rows = found.steps[0].cost.written_bytes
    assert found.steps[0].op == "Gather" and found.bounds.weight_bytes == rows < table.nbytes


def test_calls_of_numpy_are_steps_too():
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["v", "i"], name="top"), helper.make_node("Tanh", ["v"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("k", TensorProto.INT64, [1], [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    loaded = lstm_infer.load(model.SerializeToString())
    seen = module._take(loaded, None, 0)
    found = profile(b"", model=loaded)
    hosts = [call for call in seen.placed.calls if isinstance(call, HostCall)]
    assert [step.slot for step in found.steps if step.slot.startswith("host:")] == [f"host:{c.node.op}" for c in hosts]


def test_bounds_alone_are_those_of_a_profile():
    model = lstm_infer.load(stream_models.state_io())
    alone, whole = bounds(model), profile(b"", model=model).bounds
    assert (alone.macs, alone.weight_bytes) == (whole.macs, whole.weight_bytes)
    assert alone.multiplying == pytest.approx(2 * alone.macs / alone.peak / 1e3)
    assert alone.reading == pytest.approx(alone.weight_bytes / alone.rate / 1e3)


def test_the_command(path, capsys):
    file = path("hidden_state")
    assert command.main(["bench", file, "--profile"]) == 0
    text = capsys.readouterr().out
    assert "lstm_f32" in text and "a step: " in text and "at best: multiplying" in text and "CPU: " in text
    assert command.main(["bench", file, "--profile", "--steps", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    macs = {step["op"]: step["cost"]["macs"] for step in found["steps"] if step["cost"]["macs"]}
    assert found["what"] == "a run of 7 steps" and macs == {"LSTM": 7 * LSTM_MACS, "MatMul": 7 * H * C}


def test_many_steps_are_summed_by_operator(path, capsys, monkeypatch):
    from lstm_infer.cli import profiled

    monkeypatch.setattr(profiled, "MOST_ROWS", 2)
    assert command.main(["bench", path("bands"), "--profile"]) == 0
    text = capsys.readouterr().out
    found = profile(stream_models.bands())
    assert f"{len(found.steps) - 2} others" in text
    lines = [line.split() for line in text[text.index("op ") :].splitlines()]
    steps = {tuple(line[:2]): int(line[2]) for line in lines if len(line) == 6 and line[2].isdigit()}
    assert sum(steps.values()) == len(found.steps) and steps["LSTM", "lstm_f32"] == 1


@pytest.mark.files
@pytest.mark.parametrize("name", ["dtln_model_2", "pose_gru"])
def test_real_models(name):
    file = shared_files.model(name)
    found = profile(file)
    assert 0 < found.bounds.weight_bytes < 3 * file.stat().st_size
    assert found.bounds.macs > 1000
