"""Snapshots that are whole and yet not of this stream, and buffers that two outputs cannot share."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import stream_models
import tolerances
from lstm_infer.errors import FeedError, FormatError
from snapshot_cases import forged, sealed


def turned():
    """h' = h / 2 + x, shown transposed; every size open."""
    nodes = [
        helper.make_node("Mul", ["h", "half"], ["h2"]),
        helper.make_node("Add", ["h2", "x"], ["hn"]),
        helper.make_node("Transpose", ["hn"], ["y"], perm=[0, 2, 1]),
    ]
    ports = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in {"x": [1, "A", "B"], "h": [1, "A", "B"], "y": [1, "B", "A"], "hn": [1, "A", "B"]}.items()
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [ports["x"], ports["h"]],
        [ports["y"], ports["hn"]],
        [numpy_helper.from_array(np.float32(0.5), "half")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_other_sizes_of_the_same_file_are_refused():
    model = lstm_infer.load(turned(), states={"h": "hn"})
    one, two = (model.stream(initial={"h": np.zeros(shape, np.float32)}) for shape in ((1, 2, 3), (1, 3, 2)))
    one.step(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    before = two.snapshot()
    with pytest.raises(FormatError, match="other sizes"):
        two.restore(one.snapshot())
    assert two.snapshot() == before


def beside_itself():
    """x [1, I, T], a Conv that looks two steps ahead, and x itself, which waits for it in a queue."""
    n = stream_models.INPUTS
    kernel = np.random.default_rng(0).uniform(-0.6, 0.6, (n, n, 5)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"], pads=[2, 2]), helper.make_node("Add", ["c", "x"], ["s"])]
    nodes += [helper.make_node("CumSum", ["s", "two"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "T"]) for name in "xy"]
    consts = [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(np.array(2), "two")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], consts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


PHASED = [stream_models.centred_conv(), stream_models.centred_conv(stride=2), beside_itself()]


@pytest.mark.parametrize("data", PHASED, ids=["centred", "strided", "queued"])
def test_a_phase_in_which_no_stream_stands_is_refused(data):
    model = lstm_infer.load(data, time_axis={"x": 2})
    x = np.random.default_rng(0).uniform(-1, 1, (1, stream_models.INPUTS, 40)).astype(np.float32)
    stream = model.stream()
    stream.run(np.ascontiguousarray(x[:, :, :7]))
    snap = stream.snapshot()
    assert stream._standing.phase, "a stream with a phase"
    seen = set()
    for at in range(12):  # every phase that a stream passes is taken
        other = model.stream()
        other.run(np.ascontiguousarray(x[:, :, :at]))
        seen.add(other._standing.phase)
        stream.restore(other.snapshot())
        rest = np.ascontiguousarray(x[:, :, at:])
        tolerances.exact(stream.run(rest), other.run(rest))
    stream.restore(snap)
    names = {memory.key: memory.name for memory in stream._plan.memories}
    for place, key in enumerate(stream._plan.fills):
        for value in (-(1 << 62), -100, -1, 0, 1, 2, 3, 100, 1 << 40):
            phase = (*stream._standing.phase[:place], value, *stream._standing.phase[place + 1 :])
            if phase in seen:
                continue
            with pytest.raises(FormatError, match="no stream of this model"):
                stream.restore(forged(snap, **{names[key]: value}))
    with pytest.raises(FormatError, match="flushed"):
        stream.restore(sealed(snap[:28] + b"\7" + snap[29:]))
    assert stream.snapshot() == snap


@pytest.mark.parametrize("n", [0, 7, 8, 30])
def test_one_that_is_cut_off_in_its_header(n):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    with pytest.raises(FormatError, match=f"cut off: {n} bytes"):
        stream.restore(stream.snapshot()[:n])


@pytest.mark.parametrize("from_the_end", [1, 30, 77])
def test_one_of_which_a_bit_is_changed(from_the_end):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    stream.run(np.ones((2, 1, stream_models.INPUTS), np.float32))
    changed = bytearray(snap := stream.snapshot())
    changed[-from_the_end] ^= 1
    with pytest.raises(FormatError, match="damaged"):
        stream.restore(bytes(changed))
    with pytest.raises(FormatError, match="damaged"):
        stream.restore(snap[:-1])
    assert stream.snapshot() == snap


def turned_back():
    """x [T, B, I] that loses its first two steps and gets two at its end: what an exporter makes of a look-ahead."""
    pads = np.array([-2, 0, 0, 2, 0, 0])
    model = onnx.load_from_string(stream_models.hidden_state())
    model.graph.node[0].input[0] = "later"
    model.graph.node.insert(0, helper.make_node("Pad", ["x", "pads"], ["later"], name="later"))
    model.graph.initializer.append(numpy_helper.from_array(pads, "pads"))
    return model.SerializeToString()


def test_a_stream_that_has_still_to_leave_out_steps_is_taken_over():
    """Steps that are cut off are counted down from below zero."""
    model = lstm_infer.load(turned_back())
    x = np.random.default_rng(0).uniform(-1, 1, (9, 1, stream_models.INPUTS)).astype(np.float32)
    whole = model.run({"x": x})["y"]
    for cut in range(5):
        first, second = model.stream(), model.stream()
        made = [first.run(x[:cut])] if cut else []
        second.restore(first.snapshot())
        made += [second.run(x[cut:]), second.flush()]
        tolerances.exact(np.concatenate([part for part in made if part is not None]), whole)


def test_outputs_that_would_share_memory_are_refused():
    made = onnx.load_from_string(stream_models.hidden_state())
    made.graph.output.append(helper.make_tensor_value_info("seq", TensorProto.FLOAT, ["T", "B", stream_models.HIDDEN]))
    stream, x = lstm_infer.load(made).stream(), np.ones((3, 1, stream_models.INPUTS), np.float32)
    want = stream.run(x)
    stream.reset()
    shared = np.empty(sum(a.size for a in want.values()), np.float32)
    first = next(iter(want.values())).size
    for gap in (0, first - 1):
        at = [0, gap]
        out = {n: shared[i : i + a.size].reshape(a.shape) for i, (n, a) in zip(at, want.items(), strict=True)}
        with pytest.raises(FeedError, match="share memory"):
            stream.run(x, out=out)
    parts = [shared[:first], shared[first:]]
    out = {n: part.reshape(a.shape) for part, (n, a) in zip(parts, want.items(), strict=True)}
    stream.run(x, out=out)
    for name, array in want.items():
        tolerances.exact(out[name], array, name)
