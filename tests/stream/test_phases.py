"""Phases in which a stream may stand: found by going through them, or by halving where there are many; no others."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import stream_models
import tolerances
from lstm_infer.errors import FormatError
from lstm_infer.streams import phases
from snapshot_cases import CASES, forged, results

N = 2


def wide(kernel: int, pads: int, *, beside: bool = True, stride: int = 1) -> bytes:
    """x [1, N, T], a Conv over many steps, x beside it (which waits in a queue), and a running sum."""
    k = np.random.default_rng(0).uniform(-0.1, 0.1, (N, N, kernel)).astype(np.float32)
    conv = helper.make_node("Conv", ["x", "k"], ["c"], name="ahead", pads=[pads, pads], strides=[stride])
    nodes = [conv, helper.make_node("Add", ["c", "x" if beside else "c"], ["s"], name="meet")]
    nodes += [helper.make_node("CumSum", ["s", "two"], ["y"])]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, N, "T"])]
    ports += [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, N, "T" if beside else "U"])]
    consts = [numpy_helper.from_array(k, "k"), numpy_helper.from_array(np.array(2), "two")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], consts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    "build",
    [
        *(lambda stride=stride: (stream_models.centred_conv(stride=stride), {}) for stride in (1, 2, 3, 4)),
        lambda: (CASES["queue"].build(), CASES["queue"].load),
        lambda: (wide(9, 4), {"time_axis": {"x": 2}}),
        lambda: (wide(9, 0, beside=False, stride=5), {"time_axis": {"x": 2}}),
    ],
    ids=["1", "2", "3", "4", "queue", "wide", "valid"],
)
def test_both_ways_to_find_them_agree(build, monkeypatch):
    data, options = build()
    plan = lstm_infer.load(data, **options).stream()._plan
    one = phases.Phases(plan.reference, plan.fills, plan.capacity)
    assert one.reached(plan.first_phase)
    seen = set(one._seen)
    assert one._all, "few enough to go through"
    monkeypatch.setattr(phases, "MOST_STEPS", -1)
    two = phases.Phases(plan.reference, plan.fills, plan.capacity)
    for phase in itertools.product(*(range(-1, n + 1) for n in plan.capacity.values())):
        assert two.reached(phase) == (phase in seen), phase


@pytest.mark.parametrize(
    "data",
    [wide(601, 300), wide(700, 0, beside=False), wide(300, 0, beside=False, stride=7)],
    ids=["queue", "valid", "stride"],
)
def test_far_ahead(data):
    """What streams pass is taken, by a process that has not seen it; what they do not pass is refused."""
    model = lstm_infer.load(data, time_axis={"x": 2})
    x = np.random.default_rng(0).uniform(-1, 1, (1, N, 1000)).astype(np.float32)
    names = {memory.key: memory.name for memory in model.stream()._plan.memories}
    one, at = model.stream(), 0
    for cut in (1, 250, 299, 300, 301, 303, 420, 699, 700, 741, 900):
        one.run(np.ascontiguousarray(x[..., at:cut]))
        at, snap = cut, one.snapshot()
        two = lstm_infer.load(data, time_axis={"x": 2}).stream()
        two.restore(snap)
        rest = np.ascontiguousarray(x[..., cut : cut + 60])
        tolerances.exact(results(two.run(rest))["y"], results(one.fork().run(rest))["y"], f"behind {cut} steps")
        phase = dict(zip(one._plan.fills, one._standing.phase, strict=True))
        if len(phase) > 1:
            for key, held in phase.items():
                for wrong in (held - 1, held + 1, held + 2):
                    with pytest.raises(FormatError, match="no stream of this model"):
                        two.restore(forged(snap, **{names[key]: wrong}))


@pytest.mark.parametrize("named", [False, True])
def test_a_step_in_front_of_the_first_last_value(named):
    """Conv without padding, LSTM, its last hidden state: nothing to give until the Conv has all that it reads."""
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, N, "T"])]
    ports += [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 1, 4])]
    rng = np.random.default_rng(0)
    sizes = {"k": (N, N, 3), "w": (1, 16, N), "r": (1, 16, 4)}
    consts = [numpy_helper.from_array(rng.uniform(-1, 1, s).astype(np.float32), n) for n, s in sizes.items()]
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"]), helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1])]
    nodes += [helper.make_node("LSTM", ["t", "w", "r"], ["", "h"], hidden_size=4)]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], consts)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x, session = rng.uniform(-1, 1, (1, N, 6)).astype(np.float32), ort.InferenceSession(data)
    stream = lstm_infer.load(data).stream()
    for t in range(6):
        frame = x[:, :, t : t + 1]
        made = stream.step({"x": frame})["h"] if named else stream.step(frame)
        assert (made is None) == (t < 2)
        if made is not None:
            want = session.run(None, {"x": x[:, :, : t + 1]})[0]
            np.testing.assert_allclose(made, want, rtol=1e-5, atol=1e-6)
    stream.reset()
    with pytest.raises(lstm_infer.ShapeError, match="'h' does not exist before"):
        stream.step(x[:, :, :1], out=np.empty((1, 1, 4), np.float32))
