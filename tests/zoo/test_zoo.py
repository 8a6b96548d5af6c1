"""Tutorial models, and forms of published ones for speech and audio: `run` gives what the framework gives, causal ones
stream, others are refused by name.

index.json says by hand what each module should do; the files of a module share its row. Keys: `time` and `batch` of
the streamed inputs, `outputs` to time axis (null: the value as if the sequence ended here), `pairs` of state inputs
and outputs, number of `states`, `lag`, `bind` (inputs to bind), `frame` (inputs of a frame model), `refused` (kinds of
node that may be named; "": none), `load` (arguments that make a refused model stream), `load_refused`, `frozen` (the
file holds one size; others are refused or right), `meets` (the signals of a batch meet: streamed one by one),
`stepwise` (tensor-wide scales, or something done once a call: the stream is defined as one step at a time),
`recognised` (what the summary says of a cell that was taken apart), `pending` and `pending_run` (why it is not
built yet), `files` (a row's exceptions by file).
"""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tolerances

lstm_infer = pytest.importorskip("lstm_infer")

HERE = Path(__file__).parent
INDEX = json.loads((HERE / "index.json").read_text())
FILES = sorted(path.stem for path in (HERE / "files").glob("*.onnx"))
_models: dict = {}
_runs: dict = {}


def row(name):
    """The row of a file: that of its module, with its own exceptions."""
    module = name.split("_", 1)[1].removesuffix("_static")
    keras = name.startswith(("tf_", "ke_"))
    found = INDEX["keras_" + module if keras else module]
    found = found | found.get("files", {}).get(name, {})
    if name.startswith("ke_") and "outputs" in found:  # Keras names its outputs Identity
        names = dict(zip([*found["outputs"], *found.get("pairs", {}).values()], runs(name)[0][1], strict=True))
        found["outputs"] = {names[key]: axis for key, axis in found["outputs"].items()}
        found["pairs"] = {key: names[out] for key, out in found.get("pairs", {}).items()}
    return found


def load(name, **options):
    key = name, repr(options)
    if key not in _models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repaired sizes warn, rightly
            _models[key] = lstm_infer.load(HERE / "files" / f"{name}.onnx", **options)
    return _models[key]


def runs(name):
    """(feeds, expected outputs) per stored run."""
    if name not in _runs:
        found: dict = {}
        with np.load(HERE / "files" / f"{name}.npz") as stored:
            for key in stored.files:
                run, kind, value = key.split("/", 2)
                found.setdefault(int(run), {}).setdefault(kind, {})[value] = stored[key]
        _runs[name] = [(run["in"], run.get("eager") or run["out"]) for _, run in sorted(found.items())]
    return _runs[name]


def where(condition):
    return [name for name in FILES if condition(row(name))]


LOADING = where(lambda r: "load_refused" not in r)
TIMED = where(lambda r: "time" in r and "load_refused" not in r)
FRAMES = where(lambda r: "frame" in r)
REFUSED = where(lambda r: "refused" in r)


def waits(names, what):
    """Parameters; those that wait for another part of the engine are expected to fail."""
    marked = []
    for name in names:
        reason = row(name).get("pending") if what == "stream" else row(name).get("pending_run")
        marks = [pytest.mark.xfail(reason=reason, strict=False)] if reason else []
        marked.append(pytest.param(name, marks=marks))
    return marked


def test_every_row_has_a_file():
    modules = {name.split("_", 1)[1].removesuffix("_static") for name in FILES}
    assert {key.removeprefix("keras_") for key in INDEX} <= modules
    assert len(INDEX) >= 25


@pytest.mark.parametrize("name", waits(LOADING, "run"))
def test_run_gives_what_the_framework_gives(name):
    model = load(name)
    judge = tolerances.like_onnxruntime_int8 if name.startswith("q_") else tolerances.like_onnxruntime
    for number, (feeds, want) in enumerate(runs(name)):
        try:
            got = model.run(feeds)
        except lstm_infer.ShapeError:
            if number and row(name).get("frozen"):
                continue  # right or refused: another size is not in the file
            raise
        assert len(got) == len(want)
        for key, value in zip(want, got.values(), strict=True) if not set(want) <= set(got) else got.items():
            judge(value, want[key], f"{name}, run {number}, {key}")


class Split:
    """One stored run as a stream takes it."""

    def __init__(self, name, feeds):
        self.row = row(name)
        self.model = load(name, **self.row.get("load", {}))
        self.feeds = feeds
        self.initial = {key: feeds[key] for key in self.row.get("pairs", {})} or None
        self.bound = {key: feeds[key] for key in self.row.get("bind", ())} or None
        self.time, self.batches = self.row["time"], self.row["batch"]
        self.x = {key: feeds[key] for key in self.time}
        first = next(iter(self.time))
        self.steps = feeds[first].shape[self.time[first]]
        self.batch = feeds[first].shape[self.batches[first]] if self.batches else 1

    def stream(self):
        return self.model.stream(self.batch, initial=self.initial, inputs=self.bound)

    def cut(self, a, b):
        parts = {
            key: np.ascontiguousarray(value[(slice(None),) * self.time[key] + (slice(a, b),)])
            for key, value in self.x.items()
        }
        return parts if len(parts) > 1 else next(iter(parts.values()))

    def named(self, results):
        return results if isinstance(results, dict) else {next(iter(self.row["outputs"])): results}

    def pieces(self, cuts, stream=None):
        stream = stream or self.stream()
        parts = [self.named(stream.run(self.cut(a, b))) for a, b in pairwise([0, *cuts, self.steps]) if b > a]
        if stream.lag:
            parts.append(self.named(stream.flush()))
        joined = {}
        for key, axis in self.row["outputs"].items():
            there = [part[key] for part in parts if part[key] is not None]
            joined[key] = (there[-1] if axis is None else np.concatenate(there, axis)) if there else None
        return joined


def same(got, want, what):
    for key, value in got.items():
        tolerances.exact(value, want[key], f"{what}, {key}")


@pytest.mark.parametrize("name", waits(TIMED, "stream"))
def test_axes_and_states_are_as_written_by_hand(name):
    want = row(name)
    model = load(name, **want.get("load", {}))
    ports, outs = {p.name: p for p in model.inputs}, {p.name: p for p in model.outputs}
    assert {key: ports[key].time_axis for key in want["time"]} == want["time"]
    assert {key: ports[key].batch_axis for key in want["batch"]} == want["batch"]
    assert {key: outs[key].time_axis for key in want["outputs"]} == want["outputs"]
    assert len(model.states) == want["states"]
    assert {s.name: s.output for s in model.states if s.name in ports} == want.get("pairs", {})
    assert next(streamed(name))[1].stream().lag == want.get("lag", 0)


def streamed(name):
    """The runs that one stream takes."""
    for feeds, _ in runs(name):
        split = Split(name, feeds)
        if not split.row.get("meets") or split.batch == 1:
            yield feeds, split


@pytest.mark.parametrize("name", waits(TIMED, "stream"))
def test_pieces_equal_the_whole(name, rng):
    for feeds, split in streamed(name):
        T = split.steps
        whole = split.pieces(range(1, T)) if split.row.get("stepwise") else split.model.run(feeds)
        primes = [t for t in np.cumsum([2, 3, 5, 7, 11, 13]) if t < T]
        drawn = sorted(rng.choice(np.arange(1, T), rng.integers(1, T), replace=False)) if T > 1 else []
        for cuts in ([], range(1, T), primes, drawn):
            same(split.pieces(cuts), whole, f"cut at {list(cuts)} of {T}")


@pytest.mark.parametrize("name", waits(TIMED, "stream"))
def test_a_batch_is_its_signals_side_by_side_and_reset_begins_anew(name):
    if row(name).get("meets"):
        with pytest.raises(lstm_infer.StateError):
            next(split for feeds, _ in runs(name) if (split := Split(name, feeds)).batch > 1).stream()
        return
    feeds = next((feeds for feeds, split in streamed(name) if split.batch > 1), None)
    if feeds is None:
        pytest.skip("the file has a batch of one")
    many = Split(name, feeds)
    stream = many.stream()
    together = many.pieces([], stream)
    stream.reset()
    same(many.pieces([many.steps // 2], stream), together, "after reset")
    if not many.batches or many.row.get("stepwise"):  # one scale for all signals of a batch
        return
    for b in range(many.batch):
        one = Split(name, {key: rows(many, key, value, b) for key, value in feeds.items()})
        for key, value in one.pieces([]).items():
            axis = next(a for a, (n, m) in enumerate(zip(together[key].shape, value.shape, strict=True)) if n != m)
            tolerances.exact(value, np.take(together[key], [b], axis), f"signal {b}, {key}")


def rows(split, key, value, b):
    """One signal's part of an input: along the axis that has the batch in the run."""
    port = next(p for p in split.model.inputs if p.name == key)
    axis = split.batches.get(key, port.batch_axis)
    if axis is None and value.ndim:
        axis = next((a for a, n in enumerate(value.shape) if n == split.batch), None)
    return value if axis is None or not value.ndim else np.ascontiguousarray(np.take(value, [b], axis))


@pytest.mark.parametrize("name", waits(FRAMES, "stream"))
def test_frames_step_as_the_graph_runs(name):
    want, model = row(name), load(name)
    assert len(model.states) == want["states"]
    for feeds, _ in runs(name):
        first = want["frame"][0]
        stream = model.stream(feeds[first].shape[want["batch"][first]], initial={k: feeds[k] for k in want["pairs"]})
        x = {key: feeds[key] for key in want["frame"]}
        for _ in range(3):
            whole = model.run(feeds)
            got = stream.step(x if len(x) > 1 else next(iter(x.values())))
            got = got if isinstance(got, dict) else {next(iter(want["outputs"])): got}
            assert list(got) == list(want["outputs"])
            same(got, whole, name)
            feeds = feeds | {key: whole[out] for key, out in want["pairs"].items()}
            for key in want["pairs"]:
                tolerances.exact(stream.state[key], feeds[key], key)


@pytest.mark.parametrize("name", waits(REFUSED, "stream"))
def test_what_cannot_stream_is_refused_by_name(name):
    with pytest.raises(lstm_infer.NotStreamableError) as caught:
        load(name).stream()
    assert caught.value.reason
    assert caught.value.op in row(name)["refused"]
    assert caught.value.op in str(caught.value) and caught.value.node in str(caught.value)


@pytest.mark.parametrize("name", where(lambda r: "recognised" in r))
def test_cells_that_were_taken_apart_are_recognised(name):
    assert f"{row(name)['recognised']} units" in load(name).summary()


@pytest.mark.parametrize("name", where(lambda r: "load_refused" in r))
def test_what_cannot_run_is_refused_at_load(name):
    with pytest.raises(lstm_infer.LstmInferError) as caught:
        load(name)
    assert any(word in str(caught.value) for word in row(name)["load_refused"])
