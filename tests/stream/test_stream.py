"""The contract of Stream (DESIGN section 2): splits, states, snapshots, batches, buffers, threads, refusals."""

from __future__ import annotations

import functools
import pickle
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import stream_models
import tolerances
from in_threads import together
from stream_models import CLASSES, HIDDEN, INPUTS

lstm_infer = pytest.importorskip("lstm_infer")
if not hasattr(lstm_infer, "load"):
    pytest.skip("the engine has no load() yet", allow_module_level=True)

T = 23
SPLITS = st.lists(st.integers(1, T - 1), unique=True).map(lambda cuts: [0, *sorted(cuts), T])


@cache
def model(name="hidden_state", **more):
    # in the frame model x and h reach the same output through the same kind of ops: only the caller knows the state
    states = {"h": "h_next"} if name == "frame" else None
    return lstm_infer.load(getattr(stream_models, name)(**more), states=states)


def signal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def frames(batch=1, steps=T, seed=0):
    return signal(steps, batch, INPUTS, seed=seed)


# Pieces equal the whole.


@settings(max_examples=60)
@given(SPLITS, st.sampled_from([1, 3]), st.sampled_from(["hidden_state", "state_io"]))
def test_any_split_equals_the_whole(edges, batch, name):
    x, stream = frames(batch), model(name).stream(batch)
    feeds = {"x": x}
    if name == "state_io":
        feeds |= {key: np.zeros((1, batch, HIDDEN), np.float32) for key in ("h0", "c0")}
    whole = model(name).run(feeds)
    parts = [stream.run(x[a:b]) for a, b in pairwise(edges)]
    tolerances.exact(np.concatenate(parts), whole["y"], f"cut at {edges}")
    if name == "state_io":
        tolerances.exact(stream.state["h0"], whole["hn"])
        tolerances.exact(stream.state["c0"], whole["cn"])


@settings(max_examples=30)
@given(SPLITS)
def test_a_long_run_equals_any_split(edges):
    """More steps than any block that a plan was made for."""
    x = frames(steps=T * 67)
    whole, stream = model().stream().run(x), model().stream()
    parts = [stream.run(x[a * 67 : b * 67]) for a, b in pairwise(edges)]
    tolerances.exact(np.concatenate(parts), whole)


def test_max_chunk_changes_no_bit():
    x = frames(steps=100)
    want = model().stream().run(x)
    for chunk in (1, 7, 64):
        tolerances.exact(model().stream(max_chunk=chunk).run(x), want, f"max_chunk={chunk}")


def test_step_takes_the_frame_with_or_without_its_time_axis():
    x = frames(2)
    dropped, kept, whole = (model().stream(2) for _ in range(3))
    want = whole.run(x)
    for t in range(T):
        without, with_axis = dropped.step(x[t]), kept.step(x[t : t + 1])
        assert without.shape == (2, CLASSES)
        assert with_axis.shape == (1, 2, CLASSES)
        tolerances.exact(without, want[t])
        tolerances.exact(with_axis, want[t : t + 1])


def test_an_output_of_several_steps_a_step_keeps_its_axis():
    """Each step fed gives several: with the time axis of the input dropped they stand along their own."""
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(3)
    consts = {"W": rng.normal(0, 0.5, (1, 20, 4)), "R": rng.normal(0, 0.5, (1, 20, 5))}
    consts = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in consts.items()]
    consts += [numpy_helper.from_array(np.array(a, np.int64), n) for n, a in (("one", [1]), ("flat", [-1]))]
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=5),
        helper.make_node("Reshape", ["Y", "flat"], ["y"]),
        helper.make_node("Squeeze", ["Y", "one"], ["z"]),
    ]
    ports = {"x": ["T", 1, 4], "y": ["N"], "z": ["T", 1, 5]}
    ports = [helper.make_tensor_value_info(n, 1, shape) for n, shape in ports.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], consts)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = lstm_infer.load(data)
    x = rng.normal(0, 1, (4, 1, 4)).astype(np.float32)
    want, stream = model.run({"x": x}), model.stream()
    for t in range(4):
        got = stream.step(x[t] if t % 2 else x[t : t + 1])
        assert got["y"].shape == (5,)
        assert got["z"].shape == ((1, 5) if t % 2 else (1, 1, 5))
        np.testing.assert_array_equal(got["y"], want["y"][5 * t : 5 * t + 5])
        np.testing.assert_array_equal(got["z"].reshape(-1), want["z"][t].reshape(-1))
    out = {"y": np.empty(5, np.float32), "z": np.empty((1, 5), np.float32)}
    stream.reset()
    assert stream.step(x[0], out=out) is out
    np.testing.assert_array_equal(out["y"], want["y"][:5])


def test_an_empty_chunk_changes_nothing():
    x, stream, plain = frames(), model().stream(), model().stream()
    want = plain.run(x)
    first = stream.run(x[:5])
    before = stream.snapshot()
    assert stream.run(x[:0]).shape == (0, 1, CLASSES)
    assert stream.snapshot() == before
    tolerances.exact(np.concatenate([first, stream.run(x[5:])]), want)


def test_the_value_as_if_the_sequence_ended_here():
    x, stream = frames(), model("last_step").stream()
    for t in range(1, 9):
        tolerances.exact(stream.step(x[t - 1]), model("last_step").run({"x": x[:t]})["y"], f"after {t} steps")
    tolerances.exact(stream.run(x[8:]), model("last_step").run({"x": x})["y"])


@settings(max_examples=40)
@given(SPLITS, st.sampled_from([1, 2]))
def test_look_ahead_streams_with_a_lag(edges, stride):
    conv = model("centred_conv", stride=stride)
    x = signal(1, INPUTS, T)
    stream, want = conv.stream(), conv.run({"x": x})["y"]
    assert stream.lag == 2
    parts = [stream.run(np.ascontiguousarray(x[:, :, a:b])) for a, b in pairwise(edges)]
    for part, end in zip(parts, edges[1:], strict=True):
        assert part.shape[0] <= end
    parts.append(stream.flush())
    tolerances.exact(np.concatenate(parts), want, f"cut at {edges}, stride {stride}")


@pytest.mark.parametrize("stride", [1, 2])
def test_the_summary_names_lag_and_stride(stride):
    found = model("centred_conv", stride=stride)
    told = f"lag: {found.streaming.lag} steps of look-ahead, one step out for {found.streaming.rate} in"
    assert told in found.summary() and "lag:" not in model("hidden_state").summary()


def test_the_summary_says_what_has_to_be_bound():
    """First states from inputs that no output follows: nothing streams before they are there."""
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(3)
    consts = {"W": rng.normal(0, 0.5, (1, 15, 4)), "R": rng.normal(0, 0.5, (1, 15, 5))}
    nodes = [helper.make_node("GRU", ["x", "W", "R", "", "", "h"], ["y"], hidden_size=5)]
    ports = {"x": ["T", 1, 4], "h": [1, 1, 5], "y": ["T", 1, 1, 5]}
    ports = [helper.make_tensor_value_info(n, 1, shape) for n, shape in ports.items()]
    consts = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in consts.items()]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], consts)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    found = lstm_infer.load(data)
    (line,) = (line for line in found.summary().splitlines() if line.startswith("streams:"))
    assert "bind those with stream(inputs=...)" in line
    with pytest.raises(lstm_infer.FeedError, match="bind it"):
        found.stream()
    found.stream(inputs={"h": np.zeros((1, 1, 5), np.float32)}).step(np.zeros((1, 1, 4), np.float32))


def test_step_points_to_run_where_there_is_a_lag():
    with pytest.raises(lstm_infer.LstmInferError, match="run"):
        model("centred_conv").stream().step(signal(1, INPUTS, 1))


def test_flush_without_a_lag_is_empty():
    stream = model().stream()
    stream.run(frames())
    assert stream.lag == 0
    assert stream.flush().shape[0] == 0


def test_a_frame_model_steps_whole_graphs():
    stream, x = model("frame").stream(2), signal(4, 2, INPUTS)
    h = np.zeros((2, INPUTS), np.float32)
    want = []
    for frame in x:
        results = model("frame").run({"x": frame, "h": h})
        h = results["h_next"]
        want.append(results["y"])
    tolerances.exact(stream.step(x[0]), want[0])
    tolerances.exact(stream.run(x[1:]), np.stack(want[1:]), "run adds a leading axis")
    tolerances.exact(stream.state["h"], h)


def test_a_pad_belongs_to_the_window_behind_moves_of_axes():
    x, stream = signal(2, T, INPUTS), model("padded_in_front").stream(2)
    whole = model("padded_in_front").run({"x": x})["y"]
    parts = [stream.run(x[:, a:b]) for a, b in pairwise((0, 1, 2, 9, T))]
    assert stream.lag == 0
    tolerances.exact(np.concatenate(parts, 1), whole)


@pytest.mark.parametrize("which", [1, 7])
def test_a_scalar_that_chooses_a_network_hides_no_time_axis(which):
    x, switch = frames(2), np.int64(which)
    zero = np.zeros((1, 2, HIDDEN), np.float32)
    whole = model("switched").run({"x": x, "h0": zero, "c0": zero, "which": np.asarray(switch)})
    assert [(p.name, p.time_axis) for p in model("switched").inputs if p.name in ("x", "which")] == [
        ("x", 0),
        ("which", None),
    ]
    assert next(p for p in model("switched").outputs if p.name == "y").time_axis == 0
    bound = model("switched").stream(2, inputs={"which": switch})
    tolerances.exact(np.concatenate([bound.run(x[:5]), bound.run(x[5:])]), whole["y"])
    tolerances.exact(bound.state["c0"], whole["cn"])
    fed = model("switched").stream(2)
    tolerances.exact(fed.run({"x": x, "which": np.asarray(switch)})["y"], whole["y"])


def test_names_go_in_and_names_come_out():
    """An array in, an array out; a dict in, a dict out, however many outputs there are."""
    x, array, named = frames(1), model().stream(), model().stream()
    assert isinstance(array.step(x[0]), np.ndarray)
    got = named.step({"x": x[0]})
    assert list(got) == ["y"]
    tolerances.exact(named.run({"x": x[1:]})["y"], array.run(x[1:]))
    out = {"y": np.empty_like(got["y"])}
    assert named.step({"x": x[0]}, out=out) is out


def test_two_time_axes_want_one_chosen():
    with pytest.raises(lstm_infer.NotStreamableError, match="time_axis="):
        model("cascade").stream()
    src, tgt = frames(2, 9), frames(2, seed=1)
    whole = model("cascade").run({"src": src, "tgt": tgt})["y"]
    decoder = lstm_infer.load(stream_models.cascade(), time_axis={"tgt": 0}).stream(2, inputs={"src": src})
    tolerances.exact(np.concatenate([decoder.run(tgt[:4]), decoder.run(tgt[4:])]), whole)
    encoder = lstm_infer.load(stream_models.cascade(), time_axis={"src": 0})
    assert [s.output for s in encoder.states] == [None, None], "the decoder's input is no state of its output"
    stream = encoder.stream(2, inputs={"tgt": tgt})
    stream.run(src[:3])
    tolerances.exact(stream.run(src[3:]), whole, "the value as if the source ended here")


def test_an_axis_inside_the_frame_is_no_time():
    x, cache = signal(4, 1, INPUTS), np.zeros((1, 9, INPUTS), np.float32)
    assert [p.time_axis for p in model("bands").inputs] == [None, None]
    stream = model("bands").stream()
    for frame in x:
        whole = model("bands").run({"x": frame, "cache": cache})
        cache = whole["cache_out"]
        tolerances.exact(stream.step(frame), whole["y"])
        tolerances.exact(stream.state["cache"], cache)


def test_a_residual_beside_a_side_input_is_no_state():
    x, speaker = frames(2), signal(2, INPUTS)
    whole = model("residual_beside").run({"x": x, "speaker": speaker})["y"]
    stream = model("residual_beside").stream(2, inputs={"speaker": speaker})
    tolerances.exact(np.concatenate([stream.run(x[:6]), stream.run(x[6:])]), whole)


def test_a_state_that_could_be_either_input_is_told_by_its_name_and_the_summary_says_so():
    unsure = lstm_infer.load(stream_models.frame())
    unsure.stream(2)
    (state,) = unsure.states
    assert (state.name, state.output) == ("h", "h_next")
    assert state.evidence == "every output goes through it, and its name says so"
    assert state.evidence in unsure.summary()


# States.


def test_reset_equals_new():
    x, stream = frames(), model().stream()
    want = stream.run(x)
    stream.reset()
    tolerances.exact(stream.run(x), want)
    stream.reset()
    assert stream.snapshot() == model().stream().snapshot()


def test_reset_of_rows_leaves_the_others():
    x, y = frames(3), frames(3, seed=1)
    stream, going = model().stream(3), model().stream(3)
    stream.run(x)
    going.run(x)
    stream.reset(rows=[1])
    mixed = stream.run(y)
    tolerances.exact(mixed[:, [0, 2]], going.run(y)[:, [0, 2]])
    tolerances.exact(mixed[:, [1]], model().stream(3).run(y)[:, [1]])


@pytest.mark.parametrize("rows", [[3], [-4], ["a"]])
def test_reset_of_rows_that_are_not_there(rows):
    stream = model().stream(3)
    with pytest.raises((lstm_infer.LstmInferError, TypeError)):
        stream.reset(rows=rows)


def test_initial_seeds_and_reset_returns_to_it():
    h, c = signal(1, 2, HIDDEN, seed=2), signal(1, 2, HIDDEN, seed=3)
    x = frames(2)
    stream = model("state_io").stream(2, initial={"h0": h, "c0": c})
    want = model("state_io").run({"x": x, "h0": h, "c0": c})["y"]
    tolerances.exact(stream.run(x), want)
    stream.reset()
    tolerances.exact(stream.run(x), want)


@pytest.mark.parametrize("name", ["hidden_state", "state_io"])
def test_state_can_be_read_and_set(name):
    x, stream = frames(2), model(name).stream(2)
    stream.run(x[:9])
    saved = {key: value.copy() for key, value in stream.state.items()}
    assert len(saved) == 2
    assert any(value.any() for value in saved.values())
    want = stream.run(x[9:])
    other = model(name).stream(2)
    other.state = saved
    tolerances.exact(other.run(x[9:]), want)
    if name == "hidden_state":  # hidden states can be seeded by name too
        tolerances.exact(model(name).stream(2, initial=saved).run(x[9:]), want)


def test_a_state_that_was_read_does_not_change_later():
    stream = model("state_io").stream()
    stream.run(frames())
    held = stream.state["h0"]
    copy = held.copy()
    stream.run(frames(seed=4))
    tolerances.exact(held, copy)


def test_wrong_states_are_refused():
    stream = model("state_io").stream()
    good = {key: value.copy() for key, value in stream.state.items()}
    before = stream.snapshot()
    for bad, errors in [
        ({"nobody": good["h0"]}, (lstm_infer.FeedError, lstm_infer.StateError)),
        ({"h0": np.zeros((1, 2, HIDDEN), np.float32)}, lstm_infer.ShapeError),
        ({"h0": np.zeros((1, 1, HIDDEN), np.float64)}, lstm_infer.DtypeError),
    ]:
        with pytest.raises(errors):
            stream.state = good | bad
        assert stream.snapshot() == before, "a refused state leaves no trace"
        with pytest.raises(errors):
            model("state_io").stream(initial=bad)


def test_states_are_described():
    for name in ("hidden_state", "state_io"):
        assert [s.name for s in model(name).states] == list(model(name).stream().state)
    described = [(s.name, s.output, s.kind) for s in model("state_io").states]
    assert described == [("h0", "hn", "input"), ("c0", "cn", "input")]
    assert [(s.output, s.kind) for s in model().states] == [(None, "zero")] * 2


# Snapshot, restore, fork.


def test_snapshot_and_restore():
    x, stream = frames(2), model().stream(2)
    stream.run(x[:9])
    snap = stream.snapshot()
    assert isinstance(snap, bytes)
    want = stream.run(x[9:])
    stream.restore(snap)
    tolerances.exact(stream.run(x[9:]), want)
    other = lstm_infer.load(stream_models.hidden_state()).stream(2)
    other.restore(snap)
    tolerances.exact(other.run(x[9:]), want, "in another process this is another Model of the same file")


def test_a_snapshot_keeps_the_lag():
    x, stream = signal(1, INPUTS, T), model("centred_conv").stream()
    stream.run(np.ascontiguousarray(x[:, :, :7]))
    snap, rest = stream.snapshot(), np.ascontiguousarray(x[:, :, 7:])
    want = np.concatenate([stream.run(rest), stream.flush()])
    other = model("centred_conv").stream()
    other.restore(snap)
    tolerances.exact(np.concatenate([other.run(rest), other.flush()]), want)


def test_every_flipped_byte_and_every_cut_is_a_format_error():
    stream = model().stream()
    stream.run(frames())
    snap, before = stream.snapshot(), None
    before = snap
    for position in range(0, len(snap), 1 if len(snap) < 600 else 3):
        broken = bytearray(snap)
        broken[position] ^= 0x41
        with pytest.raises(lstm_infer.FormatError):
            stream.restore(bytes(broken))
        with pytest.raises(lstm_infer.FormatError):
            stream.restore(snap[:position])
    with pytest.raises(lstm_infer.FormatError):
        stream.restore(snap + b"\0")
    assert stream.snapshot() == before, "a refused snapshot leaves no trace"


def test_a_snapshot_of_something_else_is_refused():
    snap = model().stream(2).snapshot()
    for other in (model().stream(3), model("state_io").stream(2), model("frame").stream(2), model(seed=1).stream(2)):
        with pytest.raises(lstm_infer.LstmInferError):
            other.restore(snap)


def test_fork_goes_its_own_way():
    x, y, stream = frames(), frames(seed=1), model().stream()
    stream.run(x)
    twin = stream.fork()
    snap = stream.snapshot()
    want = twin.run(y)
    assert stream.snapshot() == snap
    tolerances.exact(stream.run(y), want)


# Batches.


@pytest.mark.parametrize("batch", [2, 3, 8, 16, 17])
def test_a_batch_equals_separate_streams(batch):
    x, together = frames(batch), model().stream(batch)
    got = np.concatenate([together.run(x[:7]), np.stack([together.step(frame) for frame in x[7:]])])
    for row in range(batch):
        alone = model().stream().run(np.ascontiguousarray(x[:, row : row + 1]))
        tolerances.exact(got[:, row : row + 1], alone, f"row {row} of {batch}")


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2"])
def test_a_batch_that_is_none(batch):
    with pytest.raises((lstm_infer.LstmInferError, TypeError, ValueError)):
        model().stream(batch)


# Buffers.


def test_out_is_filled_and_returned():
    x, want = frames(2), model().stream(2).run(frames(2))
    stream = model().stream(2)
    out = np.full((CLASSES * 2,), np.nan, np.float32).reshape(2, CLASSES)
    assert stream.step(x[0], out=out) is out
    tolerances.exact(out, want[0])
    rest = np.empty((T - 1, 2, CLASSES), np.float32)
    assert stream.run(x[1:], out=rest) is rest
    tolerances.exact(rest, want[1:])


def test_without_out_every_result_is_new():
    stream = model().stream()
    first = stream.step(frames()[0])
    copy = first.copy()
    second = stream.step(frames()[1])
    assert first is not second
    assert not np.shares_memory(first, second)
    tolerances.exact(first, copy)


def bad_frames():
    good = frames()[0]
    read_only = good.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + good.tobytes(), np.uint8)[1:].view(np.float32).reshape(good.shape)
    return good, read_only, unaligned


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda x: x[:, :-1].copy(), "ShapeError"),
        (lambda x: np.concatenate([x, x]), "ShapeError"),
        (lambda x: x[0], "ShapeError"),
        (lambda x: x[None, None], "ShapeError"),
        (lambda x: x.astype(np.float64), "DtypeError"),
        (lambda x: x.astype(np.int32), "DtypeError"),
        (lambda x: x.astype(">f4"), "DtypeError"),
        (lambda x: x.tolist(), "DtypeError"),
        (lambda x: None, "DtypeError"),
        (lambda x: {"x": x, "nobody": x}, "FeedError"),
        (lambda x: {"nobody": x}, "FeedError"),
        (lambda x: {}, "FeedError"),
    ],
)
def test_a_wrong_frame_is_refused_and_leaves_no_trace(bad, error):
    stream = model().stream()
    stream.run(frames())
    before = stream.snapshot()
    with pytest.raises(getattr(lstm_infer, error)):
        stream.step(bad(frames()[0]))
    value = bad(frames()[0])
    if isinstance(value, np.ndarray):
        value = value[None, None, None]  # too many axes, besides what is wrong already
    with pytest.raises(lstm_infer.LstmInferError):
        stream.run(value)
    assert stream.snapshot() == before


def test_strided_read_only_and_unaligned_frames():
    """Either taken as they are or refused with a word, never misread."""
    good, read_only, unaligned = bad_frames()
    want = model().stream().step(good)
    tolerances.exact(model().stream().step(read_only), want, "read-only input")
    wide = np.repeat(good, 2, axis=1)
    for value in (wide[:, ::2], unaligned, good[:, ::-1][:, ::-1]):
        try:
            got = model().stream().step(value)
        except lstm_infer.LstmInferError as error:
            said = str(error)
        else:
            said = "contiguous"
            tolerances.exact(got, want)
        assert "contiguous" in said or "aligned" in said


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda: np.empty((1, CLASSES + 1), np.float32), "ShapeError"),
        (lambda: np.empty((1, 1, CLASSES), np.float32), "ShapeError"),
        (lambda: np.empty((1, CLASSES), np.float64), "DtypeError"),
        (lambda: np.empty((1, CLASSES), ">f4"), "DtypeError"),
        (lambda: np.empty((1, 2 * CLASSES), np.float32)[:, ::2], "LstmInferError"),
        (lambda: np.broadcast_to(np.float32(0), (1, CLASSES)), "LstmInferError"),
        (lambda: [0.0] * CLASSES, "DtypeError"),
    ],
)
def test_a_wrong_out_is_refused_and_leaves_no_trace(bad, error):
    stream = model().stream()
    stream.run(frames())
    before = stream.snapshot()
    with pytest.raises(getattr(lstm_infer, error)):
        stream.step(frames()[0], out=bad())
    assert stream.snapshot() == before


def test_messages_say_what_was_expected_and_what_came():
    with pytest.raises(lstm_infer.ShapeError) as caught:
        model().stream().step(np.zeros((1, INPUTS + 2), np.float32))
    assert "x" in str(caught.value)
    assert str(INPUTS) in str(caught.value)
    assert str(INPUTS + 2) in str(caught.value)
    with pytest.raises(lstm_infer.DtypeError) as caught:
        model().stream().step(np.zeros((1, INPUTS)))
    assert "float32" in str(caught.value)
    assert "float64" in str(caught.value)


# NaN, threads, sharing.


def test_nan_flows_through_and_reset_heals():
    x, stream = frames(2), model().stream(2)
    want = model().stream(2).run(x)
    broken = x.copy()
    broken[3, 0] = np.nan
    got = stream.run(broken)
    tolerances.exact(got[:3], want[:3])
    assert np.isnan(got[3:, 0]).all()
    tolerances.exact(got[:, 1], want[:, 1], "the other row does not notice")
    stream.reset()
    tolerances.exact(stream.run(x), want)


def test_infinite_and_huge_inputs_stay_defined():
    x = frames()
    x[2], x[5] = 3e38, -np.inf
    got = model().stream().run(x)
    tolerances.exact(got, model().run({"x": x})["y"])


def test_two_threads_on_one_model_do_not_meet():
    signals = [frames(seed=n, steps=400) for n in range(4)]
    want = [model().stream().run(x) for x in signals]
    got = [None] * 4

    def work(n):
        stream = model().stream()
        got[n] = np.concatenate([stream.run(signals[n][:200]), *(stream.step(f)[None] for f in signals[n][200:])])

    together(*(functools.partial(work, n) for n in range(4)))
    for mine, one in zip(got, want, strict=True):
        tolerances.exact(mine, one)


def test_two_threads_in_one_stream_are_a_state_error():
    """Work long enough that the GIL is released; whoever comes second is told, and the first is not disturbed."""
    x = frames(16, steps=6000)
    stream, errors, results = model().stream(16), [], []

    def work():
        try:
            results.append(stream.run(x))
        except lstm_infer.StateError as error:
            errors.append(error)

    for _ in range(20):
        stream.reset()
        together(work, work)
        if errors:
            break
        results.clear()
    assert errors, "in twenty tries the two never met"
    tolerances.exact(results[0], model().stream(16).run(x))
    stream.reset()
    tolerances.exact(stream.run(x[:5]), model().stream(16).run(x[:5]))


def test_a_model_can_be_pickled():
    x = frames()
    again = pickle.loads(pickle.dumps(model()))
    tolerances.exact(again.stream().run(x), model().stream().run(x))


# Refusals.


def test_what_cannot_stream_says_why():
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        model("both_ways").stream()
    assert (caught.value.node, caught.value.op) == ("rec", "LSTM")
    assert "rec" in str(caught.value)
    assert caught.value.reason
    assert model("both_ways").run({"x": frames()})["y"].shape == (T, 2, 1, HIDDEN)
    with pytest.raises(lstm_infer.NotStreamableError):
        model("stateless").stream()


def test_beside_what_runs_both_ways_time_is_what_runs_forwards():
    """A query as a whole, both ways, and a signal that streams."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("LSTM", ["query", "V", "S"], ["", "ends"], hidden_size=4, direction="bidirectional"),
        helper.make_node("ReduceSum", ["ends", "zero"], ["code"], keepdims=0),
        helper.make_node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=4),
        helper.make_node("Squeeze", ["Y", "one"], ["h"]),
        helper.make_node("Add", ["h", "code"], ["y"]),
    ]
    shapes = {"W": (1, 16, 3), "R": (1, 16, 4), "V": (2, 16, 3), "S": (2, 16, 4)}
    weights = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    inputs = [(name, TensorProto.FLOAT, [length, "B", 3]) for name, length in (("query", "S"), ("x", "T"))]
    data = stream_models._finish(
        nodes, inputs, [("y", TensorProto.FLOAT, ["T", "B", 4])],
        {**weights, "zero": np.array([0]), "one": np.array([1])},
    )  # fmt: skip
    made = lstm_infer.load(data)
    x, query = (rng.uniform(-1, 1, (steps, 2, 3)).astype(np.float32) for steps in (6, 5))
    stream = made.stream(2, inputs={"query": query})
    got = np.concatenate([stream.run(x[:2]), stream.run(x[2:])])
    tolerances.exact(got, made.run({"x": x, "query": query})["y"])


def test_several_outputs_are_not_written_to_one_array():
    x = np.zeros((2, 1, INPUTS), np.float32)
    nodes = [helper.make_node("GRU", ["x", "W", "R"], ["Y", "last"], hidden_size=HIDDEN)]
    weights = {"W": np.zeros((1, 3 * HIDDEN, INPUTS), "f"), "R": np.zeros((1, 3 * HIDDEN, HIDDEN), "f")}
    outputs = [("Y", TensorProto.FLOAT, ["T", 1, "B", HIDDEN]), ("last", TensorProto.FLOAT, [1, "B", HIDDEN])]
    data = stream_models._finish(nodes, [("x", TensorProto.FLOAT, ["T", "B", INPUTS])], outputs, weights)
    with pytest.raises(lstm_infer.FeedError, match="returns 2 outputs; give a dict"):
        lstm_infer.load(data).stream().run(x, out=np.empty((2, 1, 1, HIDDEN), np.float32))


def test_a_name_that_is_no_input_cannot_be_bound():
    with pytest.raises(lstm_infer.FeedError):
        model().stream(inputs={"nobody": np.zeros(1, np.float32)})


def test_run_refuses_wrong_feeds():
    x = frames()
    for feeds, error in [
        ({}, "FeedError"),
        ({"x": x, "nobody": x}, "FeedError"),
        ({"x": x.astype(np.float64)}, "DtypeError"),
        ({"x": x[:, :, :-1]}, "ShapeError"),
        ({"x": x[0]}, "ShapeError"),
    ]:
        with pytest.raises(getattr(lstm_infer, error)):
            model().run(feeds)
    with pytest.raises(lstm_infer.FeedError):
        model().run({"x": x}, ["nobody"])
    assert list(model("state_io").stream().state) == ["h0", "c0"]
    feeds = {"x": x, "h0": np.zeros((1, 1, HIDDEN), np.float32), "c0": np.zeros((1, 1, HIDDEN), np.float32)}
    assert list(model("state_io").run(feeds, ["cn"])) == ["cn"]


def test_what_streams_is_no_state():
    with pytest.raises(lstm_infer.StateError, match="'x' has the time axis and is streamed; it cannot be a state"):
        lstm_infer.load(stream_models.state_io(), states={"x": "y"}).stream()


def test_the_other_half_of_a_state_that_nothing_gives_back_is_named():
    """A cell of one step a call, exported without its c."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["step"]),
        helper.make_node("LSTM", ["step", "W", "R", "", "", "h", "c"], ["", "h_next", ""], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["h_next", "zero"], ["y"]),
    ]
    weights = {name: array for name, array in stream_models._lstm_weights().items() if name in "WR"}
    state, kind = [1, "B", HIDDEN], TensorProto.FLOAT
    data = stream_models._finish(
        nodes, [("x", kind, ["B", INPUTS]), ("h", kind, state), ("c", kind, state)],
        [("y", kind, ["B", HIDDEN]), ("h_next", kind, state)], {**weights, "zero": np.array([0])},
    )  # fmt: skip
    with pytest.raises(
        lstm_infer.StateError, match="no output holds the next value of 'c', the other half of its state"
    ):
        lstm_infer.load(data).stream()


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_bands_pooled_in_a_frame_of_several_signals(op):
    nodes = [
        helper.make_node(op, ["x"], ["m"]),
        helper.make_node("Squeeze", ["m", "two"], ["mean"]),
        helper.make_node("Add", ["mean", "h"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["h_next"]),
        helper.make_node("Neg", ["h_next"], ["y"]),
    ]
    x, state = ("x", TensorProto.FLOAT, ["B", 4, 7]), [TensorProto.FLOAT, ["B", 4]]
    data = stream_models._finish(
        nodes, [x, ("h", *state)], [("y", *state), ("h_next", *state)], {"two": np.array([2])}
    )  # fmt: skip
    made = lstm_infer.load(data, states={"h": "h_next"})
    stream, h = made.stream(3), np.zeros((3, 4), np.float32)
    for seed in range(3):
        x = np.random.default_rng(seed).uniform(-1, 1, (3, 4, 7)).astype(np.float32)
        want = made.run({"x": x, "h": h})
        h = want["h_next"]
        tolerances.exact(stream.step(x), want["y"])
