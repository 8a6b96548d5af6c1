"""Every file of the exporters: `run` gives the stored outputs; any split of a stream gives the whole, bit for bit.

What each file is (tests/data/exports_table.json) was written by hand from the graphs where `by` says "hand", and
drawn from the engine by tools/make_exports_table.py and read by a human where it says "engine". Keys of a row:
`time_axes` and `batch_axes` of the streamed inputs (null: a frame model), `output_time_axes` (null: the value as if
the sequence ended here), `outputs` that a stream shows, `states` (`name` null where hidden; `size` without batch),
`refused` (node null: unnamed in the file; a list: any of them), `bind` (inputs to bind) and `bound` (the row that then
holds).
"""

from __future__ import annotations

import json
import math
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import shared_files
import tolerances

lstm_infer = pytest.importorskip("lstm_infer")
if not hasattr(lstm_infer, "load"):
    pytest.skip("the engine has no load() yet", allow_module_level=True)

pytestmark = pytest.mark.files
TABLE = json.loads((Path(__file__).parents[1] / "data" / "exports_table.json").read_text())
NAMES = sorted({path.stem for path in shared_files.EXPORTS.glob("*.onnx")} | set(TABLE))
STREAMING = [name for name in NAMES if TABLE.get(name, {}).get("streams")]
REFUSED = [name for name in NAMES if name in TABLE and not TABLE[name]["streams"]]
BINDING = [name for name in REFUSED if "bound" in TABLE[name]]
_models: dict = {}


def load(name):
    if name not in _models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repaired sizes warn, rightly
            try:
                _models[name] = lstm_infer.load(shared_files.export(name))
            except lstm_infer.UnsupportedOpError as error:
                _models[name] = error
    if isinstance(_models[name], Exception):
        if name in TABLE:
            raise _models[name]
        pytest.skip(f"not built yet: {_models[name]}")
    return _models[name]


def runs(name):
    """(feeds, expected outputs) per stored run; eager is the truth where there is one."""
    with np.load(shared_files.export(name).with_suffix(".npz")) as stored:
        found: dict = {}
        for key in stored.files:
            run, kind, value = key.split("/", 2)
            found.setdefault(run, {}).setdefault(kind, {})[value] = stored[key]
    for _, run in sorted(found.items()):
        yield run["in"], run.get("eager") or run.get("out") or {}


def judge(name):
    return tolerances.like_onnxruntime_int8 if name.startswith("q_") else tolerances.like_onnxruntime


def test_files_are_there():
    for name in TABLE:
        shared_files.export(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TABLE])
def test_what_loads_is_in_the_table(name):
    load(name)
    pytest.fail(f"{name} loads: let tools/make_exports_table.py add it to the table, then read the row")


@pytest.mark.parametrize("name", NAMES)
def test_run_gives_the_stored_outputs(name):
    model = load(name)
    for number, (feeds, want) in enumerate(runs(name)):
        if name == "spec_lstm_layout1":  # nobody ran it: the equations judge
            want = layout1_by_the_equations(feeds)
        assert want, "nothing to compare with"
        got = model.run(feeds)
        assert sorted(got) == sorted(port.name for port in model.outputs)
        for key in want:
            judge(name)(got[key], want[key], f"{name}, run {number}, {key}")


def layout1_by_the_equations(feeds):
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(shared_files.export("spec_lstm_layout1")).graph
    weights = {init.name: numpy_helper.to_array(init) for init in graph.initializer}
    results = reference.lstm(feeds["X"], weights["W"], weights["R"], weights["B"], layout=1)
    return {key: np.float32(value) for key, value in zip(("Y", "Yh", "Yc"), results, strict=True)}


def free_size(shape, batch_axis):
    return math.prod(extent for axis, extent in enumerate(shape) if axis != batch_axis)


@pytest.mark.parametrize("name", STREAMING)
def test_axes_and_states_are_as_the_graph_says(name):
    model, row = load(name), TABLE[name]
    ports = {port.name: port for port in model.inputs}
    outputs = {port.name: port for port in model.outputs}
    assert {key: ports[key].time_axis for key in row["time_axes"]} == row["time_axes"]
    assert {key: ports[key].batch_axis for key in row["batch_axes"]} == row["batch_axes"]
    assert {key: outputs[key].time_axis for key in row["output_time_axes"]} == row["output_time_axes"]
    want = [(s["name"], s["output"], s["kind"], s["size"]) for s in row["states"]]
    got = [
        (s.name if s.name in ports else None, s.output, s.kind, free_size(s.shape, s.batch_axis)) for s in model.states
    ]
    for state in want:
        assert state in got, f"{state} not among {got}"
        got.remove(state)
    assert not got or row.get("delays"), f"states that the graph does not have: {got}"


class Split:
    """One run of a file as a stream takes it."""

    def __init__(self, name, row, feeds):
        self.row, self.model, self.feeds = row, load(name), feeds
        states = {s["name"]: s["output"] for s in row["states"] if s["name"]}
        self.initial = {key: feeds[key] for key in states} or None
        self.bound = {key: feeds[key] for key in TABLE[name].get("bind", [])} or None
        self.x = {key: feeds[key] for key in row["time_axes"]}
        batches = {feeds[key].shape[axis] for key, axis in row["batch_axes"].items()}
        self.batch = batches.pop() if batches else 1
        first = next(iter(self.x))
        self.steps = 1 if row["model"] == "frame" else self.x[first].shape[row["time_axes"][first]]

    def stream(self):
        return self.model.stream(self.batch, initial=self.initial, inputs=self.bound)

    def cut(self, a, b):
        index = {key: (slice(None),) * axis + (slice(a, b),) for key, axis in self.row["time_axes"].items()}
        parts = {key: np.ascontiguousarray(self.x[key][index[key]]) for key in self.x}
        return parts if len(parts) > 1 else next(iter(parts.values()))

    def by_name(self, results):
        return results if isinstance(results, dict) else {self.row["outputs"][0]: results}

    def join(self, pieces):
        """Concatenate along time; of an output without time the last value counts."""
        joined = {}
        for key in self.row["outputs"]:
            axis, parts = self.row["output_time_axes"][key], [piece[key] for piece in pieces]
            joined[key] = parts[-1] if axis is None else np.concatenate(parts, axis)
        return joined

    def pieces(self, cuts):
        stream, edges = self.stream(), [0, *sorted(cuts), self.steps]
        parts = [self.by_name(stream.run(self.cut(a, b))) for a, b in pairwise(edges) if b > a]
        if stream.lag:
            parts.append(self.by_name(stream.flush()))
        return self.join(parts), stream


def check_splits(name, row):
    for feeds, _ in runs(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            split = Split(name, row, feeds)
            whole = split.model.run(feeds)
            if row["model"] == "frame":
                check_frame(split, whole)
                continue
            check_any_cut(split, whole)


def check_any_cut(split, whole):
    @settings(max_examples=12)
    @given(st.lists(st.integers(1, max(1, split.steps - 1)), unique=True, max_size=split.steps))
    def any_cut(cuts):
        got, stream = split.pieces(cuts if split.steps > 1 else [])
        for key, value in got.items():
            tolerances.exact(value, whole[key], f"cut at {sorted(cuts)}, {key}")
        for state in split.row["states"]:
            if state["name"] and state["output"]:
                value = stream.state[state["name"]]
                tolerances.exact(value.reshape(whole[state["output"]].shape), whole[state["output"]], state["name"])

    any_cut()
    got, _ = split.pieces(range(1, split.steps))
    stepped = split.stream()
    frames = [split.by_name(stepped.step(split.cut(t, t + 1))) for t in range(split.steps)] if not stepped.lag else []
    for key, value in split.join(frames).items() if frames else ():
        tolerances.exact(value, whole[key], f"step by step, {key}")
    for key, value in got.items():
        tolerances.exact(value, whole[key], f"chunks of one, {key}")


def check_frame(split, whole):
    """One step is one run of the graph; a run of two stacked frames is two steps."""
    x = split.x if len(split.x) > 1 else next(iter(split.x.values()))
    stream = split.stream()
    first = split.by_name(stream.step(x))
    for key in split.row["outputs"]:
        tolerances.exact(first[key], whole[key], key)
    feeds = dict(split.feeds)
    for state in split.row["states"]:
        if state["name"]:
            feeds[state["name"]] = whole[state["output"]]
    again, second = split.model.run(feeds), split.by_name(stream.step(x))
    twice = {key: np.stack([value, value]) for key, value in split.x.items()}
    both = split.by_name(split.stream().run(twice if len(twice) > 1 else next(iter(twice.values()))))
    for key in split.row["outputs"]:
        tolerances.exact(second[key], again[key], f"second frame, {key}")
        tolerances.exact(both[key], np.stack([first[key], second[key]]), f"run of two frames, {key}")


@pytest.mark.parametrize("name", STREAMING)
def test_any_split_equals_the_whole(name):
    check_splits(name, TABLE[name])


@pytest.mark.parametrize("name", STREAMING)
def test_a_stream_shows_what_the_table_says(name):
    row = TABLE[name]
    for feeds, _ in runs(name):
        split = Split(name, row, feeds)
        if row["model"] == "frame":
            got = split.stream().step(split.x if len(split.x) > 1 else next(iter(split.x.values())))
        else:
            got = split.stream().run(split.cut(0, split.steps))
        assert isinstance(got, dict) == (len(row["outputs"]) > 1 or len(row["time_axes"]) > 1)
        assert list(split.by_name(got)) == row["outputs"]


@pytest.mark.parametrize("name", BINDING)
def test_bound_inputs_let_it_stream(name):
    row = TABLE[name]["bound"]
    for feeds, _ in runs(name):
        split = Split(name, row, feeds)
        whole, (got, _) = split.model.run(feeds), split.pieces(range(1, split.steps, 2))
        for key, axis in row["output_time_axes"].items():
            if key in got and axis is not None:
                tolerances.exact(got[key], whole[key], key)


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_whole_is_refused_by_name(name):
    model, want = load(name), TABLE[name]["refused"]
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        model.stream()
    nodes, ops = ([v] if not isinstance(v, list) else v for v in (want["node"], want["op"]))
    assert caught.value.op in ops
    assert nodes == [None] or caught.value.node in nodes
    assert caught.value.reason
    for word in (caught.value.op, caught.value.node):
        assert word in str(caught.value)
