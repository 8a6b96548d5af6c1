"""Every file of the exporters: `run` gives the stored outputs; any split of a stream gives the whole, bit for bit.

What each file is (tests/data/models_table.json, docs/models.md) was written by hand from the graphs where `by` says
"hand"; where it says "read" it was drawn from the engine by tools/exports_table.py and then read against the graph.
Keys of a row: `model` (time, loop, frame), `time_axes` and `batch_axes` of the streamed inputs (null: none),
`output_time_axes` (null: the value as if the sequence ended here), `outputs` that a stream shows, `states` (`name` null
where hidden; `size` without batch; `delays`: histories of windows may be listed too), `side` inputs, `lag`, `rate`,
`stepwise`, what was `recognised` and `repaired`, `refused` (node null: unnamed in the file; a list: any of them),
`loads` false where load() refuses, and `ways`: the row that holds with `load` options, or with inputs bound (`bind`).
"""

from __future__ import annotations

import importlib.util
import json
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
TOOL = Path(__file__).parents[2] / "tools" / "exports_table.py"
ROWS = json.loads((Path(__file__).parents[1] / "data" / "models_table.json").read_text())
MODELS = {
    "dtln_model_1", "dtln_model_2", "fairtalk_lstm2", "gtcrn_stream_simple", "pose_gru", "sat_captcha_bilstm",
    "silero_vad", "silero_vad_v6_seq",
}  # fmt: skip
TABLE = {name: row for name, row in ROWS.items() if name not in MODELS}
NAMES = sorted(name for name in TABLE if TABLE[name].get("loads", True))
STREAMING = [name for name in NAMES if TABLE[name]["streams"]]
REFUSED = [name for name in NAMES if not TABLE[name]["streams"]]
WAYS = [(name, number) for name in NAMES for number in range(len(TABLE[name].get("ways", ())))]
BATCHES = [n for n in STREAMING if TABLE[n]["batch_axes"] and not n.startswith("q_dynamic")]  # one scale for a batch
_models: dict = {}


def load(name, **options):
    key = name, repr(options)
    if key not in _models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repaired sizes warn, rightly
            _models[key] = lstm_infer.load(shared_files.export(name), **options)
    return _models[key]


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


def tool():
    spec = importlib.util.spec_from_file_location("exports_table", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    written = tool()
    assert written.PAGE.read_text(encoding="utf-8") == written.page(ROWS), "run python tools/exports_table.py --write"


def test_every_file_is_in_the_table():
    assert len(TABLE) == 88 and len(ROWS) == 96
    for name in TABLE:
        shared_files.export(name)
    assert {path.stem for path in shared_files.EXPORTS.glob("*.onnx")} == set(TABLE)
    assert all(row["by"] in ("hand", "read") for row in ROWS.values())


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_engine_says_what_the_table_says(name):
    (shared_files.model if name in MODELS else shared_files.export)(name)
    written = tool()
    assert not written.differences(name, ROWS[name], written.draw(name, ROWS[name]))


def test_a_projection_that_was_lost_is_refused_by_name():
    """dyn_lstm_proj: the operator has no place for the projection that its exporter left out."""
    with pytest.raises(lstm_infer.OnnxImportError, match=r"projection.*the exporter dropped"):
        load("dyn_lstm_proj")


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


class Split:
    """One run of a file as a stream takes it."""

    def __init__(self, name, row, feeds):
        constants = row.get("load", {}).get("constants", {})
        feeds = {key: value for key, value in feeds.items() if key not in constants}
        self.row, self.model, self.feeds = row, load(name, **row.get("load", {})), feeds
        states = {s["name"]: s["output"] for s in row["states"] if s["name"]}
        self.initial = {key: feeds[key] for key in states} or None
        self.bound = {key: feeds[key] for key in row.get("bind") or row["side"]} or None
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
            whole = split.model.run(split.feeds)
            if row["model"] == "frame":
                check_frame(split, by_signal(split.model, split.feeds))
                continue
            check_any_cut(split, stepped(split) if row["stepwise"] else whole)


def by_signal(model, feeds):
    """A run; of a file quantised by the range of all it is given, one for each signal, as a stream keeps them apart."""
    axes = {port.name: port.batch_axis for port in model.inputs}
    n = max((value.shape[axes[key]] for key, value in feeds.items() if axes[key] is not None), default=1)
    if n == 1 or not any(layer.op.startswith("DynamicQuantize") for layer in model.layers):
        return model.run(feeds)
    ones = [
        model.run({k: v if axes[k] is None else np.take(v, [i], axes[k]) for k, v in feeds.items()}) for i in range(n)
    ]
    return {p.name: np.concatenate([one[p.name] for one in ones], p.batch_axis) for p in model.outputs}


def stepped(split):
    """What a file quantised by the range of all it is given is, as a stream: one step at a time."""
    return split.pieces(range(1, split.steps))[0]


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
    again, second = by_signal(split.model, feeds), split.by_name(stream.step(x))
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


@pytest.mark.parametrize(("name", "number"), WAYS)
def test_another_way_streams_too(name, number):
    row = TABLE[name]["ways"][number]
    tried = 0
    for feeds, _ in runs(name):
        if any(feeds[key] != value for key, value in row.get("load", {}).get("constants", {}).items()):
            continue
        tried += 1
        split = Split(name, row, feeds)
        whole, (got, _) = split.model.run(split.feeds), split.pieces(range(1, split.steps, 2))
        for key, axis in row["output_time_axes"].items():
            if key in got and (axis is not None or "load" in row):
                tolerances.exact(got[key], whole[key], key)
    assert tried


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_of_three_is_three_signals(name, rng):
    model, row = load(name), TABLE[name]
    first = next(runs(name))[0]
    axes = {port.name: port.batch_axis for port in model.inputs}
    if next(p for p in model.inputs if p.batch_axis is not None).shape[
        row["batch_axes"][next(iter(row["batch_axes"]))]
    ]:
        pytest.skip("the file is right at one batch only")
    ones = []
    for _ in range(3):
        one = {}
        for key, value in first.items():
            axis = axes.get(key)
            value = value if axis is None else np.take(value, [0], axis)
            drawn = rng.permutation(value.reshape(-1)).reshape(value.shape)
            one[key] = value if axis is None else drawn if value.dtype.kind != "f" else -drawn
        ones.append(one)
    three = {k: v if axes.get(k) is None else np.concatenate([o[k] for o in ones], axes[k]) for k, v in ones[0].items()}
    together, apart = model.run(three), [model.run(one) for one in ones]
    for port in model.outputs:
        joined = np.concatenate([a[port.name] for a in apart], port.batch_axis)
        tolerances.exact(together[port.name], joined, port.name)


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
