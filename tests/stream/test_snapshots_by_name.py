"""A snapshot goes into every stream that keeps the same, whatever its plan; into any other it does not, by name of what differs."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest

import lstm_infer
import shared_files
import stream_models
import tolerances
from lstm_infer import _core
from lstm_infer.errors import ArgumentError, FormatError, ShapeError, StateError
from snapshot_cases import CASES, Case, counted, remembers_whether, results, sealed, tail, with_lengths

T, CUT = 23, 9


def same(got, want, where=""):
    assert got.keys() == want.keys(), where
    for name, array in want.items():
        tolerances.exact(got[name], array, f"{where} {name}")


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


@pytest.mark.parametrize("batch", [1, 3])
def test_another_plan_goes_on_from_it(case, batch):
    """Another length of blocks, another set, cuts elsewhere."""
    x, stream = case.signal(T, batch), case.stream(batch=batch)
    stream.run(case.part(x, 0, CUT))
    snap, rest = stream.snapshot(), case.part(x, CUT, None)
    fused = [isa for isa, ok in _core.list_isas() if ok and isa != "scalar"] or [None]
    want = None
    for isa in fused:
        model = case.model(isa=isa)
        for max_chunk in (64, 4, 1):
            other = case.stream(model, batch, max_chunk=max_chunk)
            other.run(case.part(x, 3, 8))  # stands elsewhere before
            other.restore(snap)
            assert other.snapshot() == snap
            got = tail(other, rest)
            want = got if want is None else want
            same(got, want, f"{isa} {max_chunk}")
    if stream._plan.isa != "scalar":
        same(tail(stream, rest), want, "the stream itself")
    scalar = case.stream(case.model(isa="scalar"), batch)
    scalar.restore(snap)
    got = tail(scalar, rest)
    for name, array in want.items():
        tolerances.like_onnxruntime(got[name], array, name)


def test_a_signal_moves_into_a_batch_and_out_of_it(case):
    """To row 5 of eight, beside others, and back; with the bits that it gets alone."""
    model = case.model()
    x, others = case.signal(T, 6), case.signal(T, 8, seed=1)
    alone = case.stream(model) if not case.bound else model.stream(inputs=_row_of(case, 5))
    mine = case.row(x, 5)
    alone.run(case.part(mine, 0, CUT))
    snap, twin = alone.snapshot(), alone.fork()
    many = case.stream(model, 8)
    many.run(case.part(others, 0, CUT))
    beside = many.fork()
    many.restore(snap, rows=[5])
    assert many.snapshot(rows=[5]) == snap
    x8 = others.copy()
    axis = case.layout.index(1)
    x8[(slice(None),) * axis + (5,)] = np.take(mine, 0, axis)
    middle, rest = (CUT, CUT + 4), (CUT + 4, T)
    got = results(many.run(case.part(x8, *middle)))
    want = results(alone.run(case.part(mine, *middle)))
    unmoved = results(beside.run(case.part(others, *middle)))
    for name, array in want.items():
        out = case.out_batch
        tolerances.exact(np.take(got[name], [5], out), array, f"row 5 of {name}")
        tolerances.exact(np.delete(got[name], 5, out), np.delete(unmoved[name], 5, out), f"the others of {name}")
    twin.restore(many.snapshot(rows=[5]))
    assert twin.snapshot() == alone.snapshot()
    same(tail(twin, case.part(mine, *rest)), tail(alone, case.part(mine, *rest)), "out of the batch again")


def _row_of(case: Case, row: int) -> dict[str, np.ndarray]:
    """What is bound for one signal of a batch."""
    return {name: np.take(array, [row], list(case.bound[name][0]).index(-1)) for name, array in case.inputs(8).items()}


def test_several_rows_in_an_order(case):
    model = case.model()
    x, stream = case.signal(T, 4), case.stream(model, 4)
    stream.run(case.part(x, 0, CUT))
    snap = stream.snapshot(rows=[2, 0])
    if case.bound:
        return  # what is bound differs from row to row: refused below
    other = case.stream(model, 3)
    other.run(case.part(case.signal(T, 3, seed=2), 0, CUT))
    other.restore(snap, rows=[0, 1])
    assert other.snapshot(rows=[1]) == stream.snapshot(rows=[0])
    assert other.snapshot(rows=[0]) == stream.snapshot(rows=[2])
    pair = case.stream(model, 2)
    pair.restore(snap)
    assert pair.snapshot() == snap


def test_copies_of_all_kinds_go_on(case):
    x, stream = case.signal(T, 2), case.stream(batch=2)
    stream.run(case.part(x, 0, CUT))
    made = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    want = tail(stream, case.part(x, CUT, None))
    for other in made:
        same(tail(other, case.part(x, CUT, None)), want)
        other.reset()
        stream.reset()
        assert other.snapshot() == stream.snapshot()


def test_a_first_state_that_was_given_is_pickled_too():
    model = lstm_infer.load(stream_models.state_io())
    stream = model.stream(initial={"h0": np.full((1, 1, stream_models.HIDDEN), 0.5, np.float32)})
    first = stream.snapshot()
    stream.run(CASES["ports"].signal(5))
    made = pickle.loads(pickle.dumps(stream))
    assert made.snapshot() == stream.snapshot() != first
    made.reset()
    assert made.snapshot() == first


ELSEWHERE = """
import sys; sys.path.insert(0, "tests")
import numpy as np
from snapshot_cases import CASES, tail
case, stream = CASES[sys.argv[1]], CASES[sys.argv[1]].stream()
stream.restore(open(sys.argv[2], "rb").read())
np.savez(sys.argv[3], **tail(stream, np.load(sys.argv[4])))
"""


@pytest.mark.parametrize("name", ["hidden", "stride", "queue", "counter", "lengths"])
def test_another_process_goes_on_from_it(name, tmp_path):
    case = CASES[name]
    x, stream = case.signal(T), case.stream()
    stream.run(case.part(x, 0, CUT))
    (tmp_path / "snap").write_bytes(stream.snapshot())
    np.save(tmp_path / "rest.npy", case.part(x, CUT, None))
    paths = [str(tmp_path / part) for part in ("snap", "out.npz", "rest.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, name, *paths], check=True, cwd=shared_files.ROOT)
    same(dict(np.load(tmp_path / "out.npz")), tail(stream, case.part(x, CUT, None)))


def test_at_every_phase(case):
    """Wherever a signal is cut, another stream goes on: at the beginning, and where nothing is left to come."""
    x, model = case.signal(13), case.model()
    for cut in range(14):
        one, two = case.stream(model), case.stream(model, max_chunk=4)
        if cut:
            one.run(case.part(x, 0, cut))
        two.restore(one.snapshot())
        assert two.snapshot() == one.snapshot()
        if cut < 13:
            same(tail(two, case.part(x, cut, None)), tail(one, case.part(x, cut, None)), f"cut at {cut}")


def test_a_stream_that_was_flushed_stays_flushed():
    case = CASES["lag"]
    model = case.model()
    one, two = case.stream(model), case.stream(model)
    one.run(case.signal(6))
    one.flush()
    two.restore(one.snapshot())
    assert two.snapshot() == one.snapshot()
    with pytest.raises(StateError, match="flushed"):
        two.run(case.signal(2))
    two.reset()
    same(tail(two, case.signal(6)), tail(case.stream(model), case.signal(6)))


# What does not fit is refused by its name.


def refused(stream, snap, match, rows=None, error=FormatError):
    before = stream.snapshot()
    with pytest.raises(error, match=match):
        stream.restore(snap, rows)
    assert stream.snapshot() == before, "left as it was"


def test_other_weights_another_graph():
    snap = lstm_infer.load(stream_models.hidden_state()).stream().snapshot()
    refused(lstm_infer.load(stream_models.hidden_state(seed=1)).stream(), snap, "other weights$")
    refused(lstm_infer.load(stream_models.state_io()).stream(), snap, "another model.*another graph")
    one = lstm_infer.load(stream_models.centred_conv()).stream().snapshot()
    refused(lstm_infer.load(stream_models.centred_conv(stride=2)).stream(), one, "has another graph$")


def test_the_names_of_weights_count_not_where_they_are_held(tmp_path):
    """External data, or values written in another field: the same weights."""
    snap = lstm_infer.load(stream_models.hidden_state()).stream().snapshot()
    model = onnx.load_from_string(stream_models.hidden_state())
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    lstm_infer.load(tmp_path / "m.onnx").stream().restore(snap)
    model = onnx.load_from_string(stream_models.hidden_state())
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        if array.dtype == np.float32:
            tensor.ClearField("raw_data")
            tensor.float_data.extend(array.reshape(-1).tolist())
    model.doc_string = model.graph.node[0].doc_string = "written about"
    lstm_infer.load(model).stream().restore(snap)


def test_another_value_of_what_is_bound_or_made_a_constant():
    case = CASES["speaker"]
    model = case.model()
    snap = case.stream(model).snapshot()
    bound = {name: array + 1 for name, array in case.inputs().items()}
    refused(model.stream(inputs=bound), snap, "another value of the bound input 'speaker'")
    refused(model.stream(), snap, "a bound input 'speaker' that this stream has not")
    data = stream_models.switched()
    snap = lstm_infer.load(data, constants={"which": 1}).stream().snapshot()
    lstm_infer.load(data, constants={"which": np.array(1)}).stream().restore(snap)
    refused(lstm_infer.load(data, constants={"which": 7}).stream(), snap, "another value of the constant 'which'")


def test_rows_with_another_value_of_what_is_bound():
    """Row 1 has the value of its own signal, row 2 another one."""
    case = CASES["speaker"]
    model = case.model()
    many = case.stream(model, 3)
    snap = model.stream(inputs=_row_of(case, 1)).snapshot()
    many.restore(snap, rows=[1])
    refused(many, snap, "bound input 'speaker'", rows=[2])
    refused(many, many.snapshot(rows=[1, 2]), "bound input 'speaker'", rows=[2, 1])


def test_another_batch_and_what_to_do():
    model = lstm_infer.load(stream_models.hidden_state())
    refused(model.stream(3), model.stream(2).snapshot(), r"a batch of 2, not of 3; restore\(snapshot, rows=\[...\]\)")
    refused(model.stream(3), model.stream(2).snapshot(), "a batch of 2, not of 1", rows=[0])
    refused(model.stream(3), lstm_infer.load(stream_models.frame()).stream(2).snapshot(), "another model")


def test_states_of_other_sizes_and_streams_of_other_states():
    data = stream_models.state_io()
    snap = lstm_infer.load(data).stream().snapshot()
    other = lstm_infer.load(data, states={"h0": "cn", "c0": "hn"})
    refused(other.stream(), snap, r"states, or its time axes, are others \(states= and time_axis= of load\)")


def test_the_one_row_of_a_stream_whose_states_have_no_batch():
    made = onnx.load_from_string(stream_models.frame())
    for port in [*made.graph.input, *made.graph.output]:
        del port.type.tensor_type.shape.dim[0]
    model = lstm_infer.load(made)
    assert [info.batch_axis for info in model.states] == [None]
    stream, other = model.stream(), model.stream()
    stream.step(np.ones(stream_models.INPUTS, np.float32))
    snap = stream.snapshot(rows=[0])
    assert snap == stream.snapshot()
    other.restore(snap, rows=[0])
    assert other.snapshot() == snap


def test_rows_at_another_phase():
    case = CASES["stride"]
    model = case.model()
    one, many = case.stream(model), case.stream(model, 2)
    one.run(case.signal(4))
    many.run(case.signal(5, 2))
    refused(many, one.snapshot(), "another phase", rows=[1], error=StateError)


@pytest.mark.parametrize("rows", [[3], [-1], [0, 0], [], [1, 3], np.array([5])])
def test_rows_that_are_not_there(rows):
    stream = lstm_infer.load(stream_models.hidden_state()).stream(3)
    snap = stream.snapshot()
    for call in (lambda: stream.snapshot(rows), lambda: stream.restore(snap, rows)):
        with pytest.raises(ShapeError):
            call()
    assert stream.snapshot() == snap


@pytest.mark.parametrize("rows", ["0", b"0", 0, 1.5, [1.5], [None], ["0"], {"a": 1}, [True], [[0]], np.array([0.5])])
def test_rows_that_are_no_numbers(rows):
    stream = lstm_infer.load(stream_models.hidden_state()).stream(3)
    snap = stream.snapshot()
    for call in (lambda: stream.snapshot(rows), lambda: stream.restore(snap, rows), lambda: stream.reset(rows)):
        with pytest.raises(ArgumentError, match="rows"):
            call()
    assert stream.snapshot() == snap


def test_what_no_state_may_hold():
    """A boolean is 0 or 1, and what is left of a length is not below 0; in what C reads next, nothing else is checked."""
    stream = lstm_infer.load(remembers_whether(), states={"seen": "seen_out"}).stream()
    snap = stream.snapshot()
    stream.restore(sealed(snap[:-1] + b"\1"))
    assert stream.state["seen"].tolist() == [[False, False, True]]
    refused(stream, sealed(snap[:-1] + b"\2"), "damaged")
    stream = lstm_infer.load(with_lengths()).stream(inputs={"lengths": np.int32([5])})
    snap, five = stream.snapshot(), np.int32(5).tobytes()
    at = snap.index(five, len(snap) - 50)
    stream.restore(sealed(snap[:at] + np.int32(2).tobytes() + snap[at + 4 :]))
    refused(stream, sealed(snap[:at] + np.int32(-3).tobytes() + snap[at + 4 :]), "damaged")


def test_a_position_outside_its_table_is_refused_where_it_is_used():
    stream = lstm_infer.load(counted()).stream()
    snap = stream.snapshot()
    place = np.int64(0).tobytes()
    for wrong in (16, -17, 1 << 40, -(1 << 62)):
        at = snap.rindex(place)
        stream.restore(sealed(snap[:at] + np.int64(wrong).tobytes() + snap[at + 8 :]))
        assert stream.state["position"].tolist() == [wrong]
        with pytest.raises(ShapeError, match="index"):
            stream.step(np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("version", [1, 2, 4])
def test_another_version_is_refused_by_its_number(version):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    snap = stream.snapshot()
    refused(stream, snap[:7] + bytes([version]) + snap[8:], f"has version {version}, this package reads version 3")


@pytest.mark.parametrize("given", [bytearray, memoryview])
def test_bytes_of_other_kinds(given):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    stream.restore(given(stream.snapshot()))
    with pytest.raises(FormatError):
        stream.restore(given(b"abc"))


@pytest.mark.parametrize("given", ["x", 5, None, 1.5, [1], {}, np.zeros(3), object()])
def test_what_is_no_bytes(given):
    with pytest.raises(ArgumentError, match="a snapshot is bytes"):
        lstm_infer.load(stream_models.hidden_state()).stream().restore(given)
