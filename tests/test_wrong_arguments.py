"""Whatever is wrong with an argument is an error of ours: every public entry with odd values in every place."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import pathlib
import sys
import tempfile
import types
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import lstm_infer
import stream_models
import tolerances
from lstm_infer import InferenceSession, LstmInferError, onnx_backend
from lstm_infer.errors import (
    ArgumentError,
    DtypeError,
    FeedError,
    IsaError,
    MissingFileError,
    OnnxImportError,
    ShapeError,
    StateError,
)
from snapshot_cases import counted


class Odd:
    """Neither one thing nor another."""

    def __array__(self, *args, **more):
        raise RuntimeError("no array")

    def __repr__(self):
        return "Odd()"


VALUES = {
    "None": None,
    "True": True,
    "zero": 0,
    "minus": -1,
    "float": 1.5,
    "nan": float("nan"),
    "huge": 10**30,
    "complex": 1j,
    "text": "x",
    "empty text": "",
    "bytes": b"x",
    "object": object(),
    "odd": Odd(),
    "empty list": [],
    "list": [1],
    "ragged": [[1, 2], [3]],
    "texts": ["x", "y"],
    "dict": {},
    "dict of None": {"x": None},
    "dict by number": {1: 2},
    "dict of text": {"x": "x"},
    "dict of dict": {"x": {"x": 1}},
    "dict of object": {"x": object()},
    "dict of odd": {"x": Odd()},
    "dict of floats": {"x": np.zeros(3)},
    "dict of ragged": {"x": [[1, 2], [3]]},
    "dict of huge": {"x": 10**30},
    "dict of nan": {"x": float("nan")},
    "set": {1, 2},
    "range": range(3),
    "function": len,
    "class": dict,
    "floats": np.zeros(3),
    "no axes": np.zeros(()),
    "objects": np.array([object()]),
    "text array": np.array(["a"]),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "fields": np.zeros(2, [("a", "f4")]),
    "wide": np.zeros((1,) * 20, np.float32),
    "masked": np.ma.array([1.0], mask=[1]),
    "numpy number": np.float32(1),
    "iterator": iter([1, 2]),
    "module": np,
    "buffer": io.BytesIO(b"x"),
    "path": pathlib.Path("nowhere") / "x",
}


DATA = stream_models.state_io()
SHORT = {"precisions": ("f32",), "long_run": 2, "seconds": 0.01}
"""The least that compare_precision does."""
SWITCHED = stream_models.switched()
X = np.zeros((2, 1, stream_models.INPUTS), np.float32)
H = np.zeros((1, 1, stream_models.HIDDEN), np.float32)


FEEDS = {"x": X, "h0": H, "c0": H}

TORCH = ("states", "dynamic", "input_names", "output_names", "precision")
EXAMPLE = {"example_inputs": None}


def module():
    """A module of torch; where there is none, anything: every call then says so."""
    try:
        import torch
    except ImportError:
        return None
    EXAMPLE["example_inputs"] = torch.from_numpy(X)
    return torch.nn.Linear(stream_models.INPUTS, 2)


CONVERTED = (
    "source",
    "path",
    "to",
    "chunk",
    "batch",
    "opset",
    "states_file",
    "name",
    "force",
    "seed",
    "say",
    "precision",
)


def quiet(results, user_data, message):
    """For a function that takes other arguments: what it raises is the caller's, and is printed by its thread."""


def converted(**given):
    """convert with one argument of the caller's, into a folder that goes away."""
    if any(given.get("say") is one for one in (dict, len)):  # what a function of the caller's raises is the caller's
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = pathlib.Path(folder) / ("model.c" if {"batch", "name"} & given.keys() else "model.onnx")
        lstm_infer.convert(**{"source": DATA, "path": path, **given})


def calls(model):
    """Every public entry, with a hole for one argument at a time."""

    def fresh():
        return model.stream()

    def lagging():
        return lag.stream()

    lag, frame, tokens, beside = (
        lstm_infer.load(build())
        for build in (stream_models.centred_conv, stream_models.frame, counted, stream_models.residual_beside)
    )

    def set_state(v):
        fresh().state = v

    def set_one(v):
        fresh().state["h0"] = v

    def set_named(v):
        fresh().state[v] = H

    def delete(v):
        del fresh().state[v]

    session = InferenceSession(DATA)
    snap = fresh().snapshot()
    return {
        "load": lambda v: lstm_infer.load(v),
        "load precision": lambda v: lstm_infer.load(DATA, precision=v),
        "load isa": lambda v: lstm_infer.load(DATA, isa=v),
        "load threads": lambda v: lstm_infer.load(DATA, threads=v),
        "load inputs": lambda v: lstm_infer.load(DATA, inputs=v),
        "load inputs x": lambda v: lstm_infer.load(DATA, inputs={"x": v}),
        "load constants": lambda v: lstm_infer.load(SWITCHED, constants=v),
        "load constants which": lambda v: lstm_infer.load(SWITCHED, constants={"which": v}),
        "load states": lambda v: lstm_infer.load(DATA, states=v),
        "load states h0": lambda v: lstm_infer.load(DATA, states={"h0": v}),
        "load time_axis": lambda v: lstm_infer.load(DATA, time_axis=v),
        "load time_axis x": lambda v: lstm_infer.load(DATA, time_axis={"x": v}),
        "load seed": lambda v: lstm_infer.load(DATA, seed=v),
        "compare_precision": lambda v: lstm_infer.compare_precision(v, **SHORT),
        "compare_precision feeds": lambda v: lstm_infer.compare_precision(DATA, v, **SHORT),
        "compare_precision feeds x": lambda v: lstm_infer.compare_precision(DATA, {"x": v}, **SHORT),
        "compare_precision precisions": lambda v: lstm_infer.compare_precision(DATA, **{**SHORT, "precisions": v}),
        "compare_precision within": lambda v: lstm_infer.compare_precision(DATA, **{**SHORT, "within": v}),
        "compare_precision long_run": lambda v: lstm_infer.compare_precision(DATA, **{**SHORT, "long_run": v}),
        "compare_precision seconds": lambda v: lstm_infer.compare_precision(DATA, **{**SHORT, "seconds": v}),
        **{f"convert {what}": lambda v, what=what: converted(**{what: v}) for what in CONVERTED},
        "from_torch": lambda v: lstm_infer.from_torch(v, X),
        "from_torch example_inputs": lambda v: lstm_infer.from_torch(module(), v),
        **{f"from_torch {n}": lambda v, n=n: lstm_infer.from_torch(module(), **{**EXAMPLE, n: v}) for n in TORCH},
        "from_keras": lambda v: lstm_infer.from_keras(v),
        "Model.run": lambda v: model.run(v),
        "Model.run x": lambda v: model.run({**FEEDS, "x": v}),
        "Model.run outputs": lambda v: model.run(FEEDS, v),
        "Model.stream": lambda v: model.stream(v),
        "Model.stream initial": lambda v: model.stream(initial=v),
        "Model.stream initial h0": lambda v: model.stream(initial={"h0": v}),
        "Model.stream inputs": lambda v: model.stream(inputs=v),
        "Model.stream inputs which": lambda v: lstm_infer.load(SWITCHED).stream(inputs={"which": v}),
        "Model.stream max_chunk": lambda v: model.stream(max_chunk=v),
        "Model.pool reserve": lambda v: model.pool(reserve=v if type(v) is not int else min(v, 9)),
        "Model.pool threads": lambda v: model.pool(threads=v),
        "Model.pool max_wait": lambda v: model.pool(max_wait=v),
        "Model.pool max_batch": lambda v: model.pool(max_batch=v),
        "Model.pool max_pending": lambda v: model.pool(max_pending=v),
        "Model.run_many": lambda v: model.run_many(v),
        "Model.run_many of one": lambda v: model.run_many([v]),
        "Model.run_many of one x": lambda v: model.run_many([{"x": v}]),
        "Model.run_many threads": lambda v: model.run_many([X], threads=v),
        "Model.run_many progress": lambda v: model.run_many([X], progress=v),
        "Model.run_many inputs": lambda v: model.run_many([X], inputs=v),
        "Model.iter_many": lambda v: list(model.iter_many(v)),
        "Model.iter_many of a lag": lambda v: list(lag.iter_many([v])),
        "Model.iter_many threads": lambda v: model.iter_many([X], threads=v),
        "Model.pool inputs": lambda v: model.pool(inputs=v),
        "Model.pool max_chunk": lambda v: model.pool(max_chunk=v),
        **pool_calls(model, lag),
        "Stream.step": lambda v: fresh().step(v),
        "Stream.step x": lambda v: fresh().step({"x": v}),
        "Stream.step out": lambda v: fresh().step(X[:1], v),
        "Stream.step out y": lambda v: fresh().step(X[:1], {"y": v}),
        "Stream.run": lambda v: fresh().run(v),
        "Stream.run x": lambda v: fresh().run({"x": v}),
        "Stream.run out": lambda v: fresh().run(X, v),
        "Stream.run out y": lambda v: fresh().run(X, {"y": v}),
        "Stream.run of a lag": lambda v: lagging().run(v),
        "Stream.run of a lag out": lambda v: lagging().run(np.zeros((1, stream_models.INPUTS, 3), np.float32), v),
        "Stream.run of a lag x": lambda v: lag.stream().run({"x": v}),
        "Stream.step of a frame": lambda v: frame.stream().step(v),
        "Stream.run of a frame": lambda v: frame.stream().run({"x": v}),
        "Stream.step of integers": lambda v: tokens.stream().step({"x": np.zeros((1, 3), np.float32), "position": v}),
        "Stream.state of integers": lambda v: tokens.stream().state.update(position=v),
        "Stream.step beside a side input": lambda v: beside.stream().step({"x": X[:1], "speaker": v}),
        "Stream.reset": lambda v: fresh().reset(v),
        "Stream.snapshot": lambda v: fresh().snapshot(v),
        "Stream.restore": lambda v: fresh().restore(v),
        "Stream.restore rows": lambda v: fresh().restore(snap, v),
        "Stream.state": set_state,
        "Stream.state h0": set_one,
        "Stream.state by name": lambda v: fresh().state[v],
        "Stream.state set by name": set_named,
        "Stream.state deleted": delete,
        "InferenceSession": lambda v: InferenceSession(v),
        "InferenceSession options": lambda v: InferenceSession(DATA, v, v, v),
        "InferenceSession constants": lambda v: InferenceSession(DATA, constants=v),
        "InferenceSession.run names": lambda v: session.run(v, FEEDS),
        "InferenceSession.run": lambda v: session.run(None, v),
        "InferenceSession.run x": lambda v: session.run(None, {**FEEDS, "x": v}),
        "InferenceSession.run options": lambda v: session.run(None, FEEDS, v),
        "InferenceSession.run_async": lambda v: session.run_async(v, v, quiet if callable(v) else v, None),
        "InferenceSession.run_with_iobinding": lambda v: session.run_with_iobinding(v),
        "InferenceSession.run_with_ort_values": lambda v: session.run_with_ort_values(None, v),
        "InferenceSession.set_providers": lambda v: session.set_providers(v, v),
        "onnx_backend.prepare": lambda v: onnx_backend.prepare(v),
        "onnx_backend.prepare device": lambda v: onnx_backend.prepare(onnx.load_from_string(DATA), v),
        "onnx_backend.run_model": lambda v: onnx_backend.run_model(onnx.load_from_string(DATA), v),
        "onnx_backend.run_node": lambda v: onnx_backend.run_node(v, [X]),
        "onnx_backend.run_node inputs": lambda v: onnx_backend.run_node(onnx.helper.make_node("Neg", ["x"], ["y"]), v),
        "onnx_backend.supports_device": lambda v: onnx_backend.supports_device(v),
        "onnx_backend.is_compatible": lambda v: onnx_backend.is_compatible(v),
    }


def pool_calls(model, lag):
    """Those of a pool of two signals, one of which stays."""

    def pool():
        return made[0]

    made = [model.pool(), lag.pool()]
    id, snap = made[0].open(), model.stream().snapshot()
    late = made[1].open()
    ids, frame = np.array([id]), X[None, :1]
    return {
        "StreamPool.open": lambda v: pool().open(v),
        "StreamPool.open h0": lambda v: pool().open({"h0": v}),
        "StreamPool.open_many": lambda v: pool().open_many(v),
        "StreamPool.close": lambda v: pool().close(v),
        "StreamPool.reset": lambda v: pool().reset(v),
        "StreamPool.flush": lambda v: pool().flush(v),
        "StreamPool.snapshot": lambda v: pool().snapshot(v),
        "StreamPool.restore": lambda v: pool().restore(v),
        "StreamPool.restore cut": lambda v: pool().restore(snap[:-1] if v is None else v),
        "StreamPool.stream": lambda v: pool().stream(v),
        "StreamPool.adopt": lambda v: pool().adopt(v),
        "StreamPool.step": lambda v: pool().step(v),
        "StreamPool.step ids": lambda v: pool().step(v, frame),
        "StreamPool.step ids one": lambda v: pool().step([v], frame),
        "StreamPool.step frames": lambda v: pool().step(ids, v),
        "StreamPool.step frames x": lambda v: pool().step(ids, {"x": v}),
        "StreamPool.step out": lambda v: pool().step(ids, frame, v),
        "StreamPool.step out y": lambda v: pool().step(ids, frame, {"y": v}),
        "StreamPool.step of one": lambda v: pool().step({id: v}),
        "StreamPool.step of one x": lambda v: pool().step({id: {"x": v}}),
        "StreamPool.submit": lambda v: pool().submit(v, frame[0]).result(20),
        "StreamPool.submit frame": lambda v: pool().submit(id, v).result(20),
        "StreamPool.submit frame x": lambda v: pool().submit(id, {"x": v}).result(20),
        "StreamPool.astep": lambda v: pool().astep(v, frame[0]),
        "StreamPool.run": lambda v: pool().run(v),
        "StreamPool.run ids": lambda v: pool().run(v, frame),
        "StreamPool.run chunks": lambda v: pool().run(ids, v),
        "StreamPool.run chunks x": lambda v: pool().run(ids, {"x": v}),
        "StreamPool.run out": lambda v: pool().run(ids, frame, v),
        "StreamPool.run of one": lambda v: pool().run({id: v}),
        "StreamPool.run of a lag": lambda v: made[1].run([late], v),
        "StreamPool.step of a lag": lambda v: made[1].step({late: v}),
        "StreamPool.step of a lag out": lambda v: made[1].step(
            [late], np.zeros((1, 1, stream_models.INPUTS, 1), np.float32), v
        ),
    }


ENTRIES = calls(lstm_infer.load(DATA))


@pytest.mark.parametrize("name", ENTRIES)
def test_odd_values(name):
    raw = []
    for label, value in VALUES.items():
        value = iter([1, 2]) if label == "iterator" else value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ENTRIES[name](value)
            except LstmInferError as error:
                if len(str(error)) < 15:
                    raw.append(f"{label}: says {error}")
            except BaseException as error:
                raw.append(f"{label}: {type(error).__name__}: {str(error)[:90]}")
    assert not raw, "\n".join(raw)


MADE_BY_OTHERS = {"Model", "Stream", "StreamPool"}
"""Classes that `load`, `Model.stream` and `Model.pool` make."""


def test_every_public_entry_is_tried():
    """Functions, methods and settable properties, each argument of theirs."""
    missing = []
    for name in lstm_infer.__all__:
        item = getattr(lstm_infer, name)
        if inspect.isclass(item):
            if issubclass(item, BaseException) or dataclasses.is_dataclass(item):
                continue
            members = {f"{name}.{key}": getattr(item, key) for key in dir(item) if not key.startswith("_")}
            if name not in MADE_BY_OTHERS:
                members[name] = item
        else:
            members = {name: item}
        for entry, member in members.items():
            takes = callable(member) and [p for p in inspect.signature(member).parameters if p != "self"]
            settable = isinstance(member, property) and member.fset is not None
            if (takes or settable) and not any(e == entry or e.startswith(f"{entry} ") for e in ENTRIES):
                missing.append(entry)
            for parameter in takes or ():
                tried = sum(e == entry or e.startswith(f"{entry} ") for e in ENTRIES)
                if tried < 1:
                    missing.append(f"{entry}({parameter})")
    assert not missing


def test_wrong_numbers_of_arguments_are_pythons_own():
    stream = lstm_infer.load(DATA).stream()
    for call in (lambda: lstm_infer.load(), lambda: stream.step(), lambda: stream.snapshot(1, 2, 3)):
        with pytest.raises(TypeError) as found:
            call()
        assert not isinstance(found.value, LstmInferError)


# What the message says, and of which kinds the error is.


@pytest.mark.parametrize(
    ("what", "kinds", "text"),
    [
        (
            "load precision",
            (ArgumentError, ValueError, TypeError),
            "precision: one of 'f32', 'f16', 'int8' expected, got 'x'",
        ),
        ("load threads", (ArgumentError,), "threads: a whole number from 1 on expected, got 'x'"),
        ("load isa", (IsaError,), "isa= asks for 'x'"),
        ("load inputs", (ArgumentError,), "inputs: a dict by name expected, got 'x'"),
        ("load time_axis x", (ArgumentError,), "time_axis: the axis of 'x': a whole number expected, got 'x'"),
        ("load seed", (ArgumentError,), "seed: a whole number from 0 on expected, got 'x'"),
        ("load states h0", (FeedError, KeyError), "states: there is no output 'x' for 'h0'"),
        ("load constants which", (DtypeError, TypeError), "constants: 'which': numbers or booleans expected, got 'x'"),
        ("Model.run", (ArgumentError,), "feeds: a dict by name expected, got 'x'"),
        (
            "Model.run outputs",
            (ArgumentError,),
            r"outputs: a sequence of names expected, got the text 'x'; write \['x'\]",
        ),
        ("Model.stream", (ArgumentError,), "batch: a whole number from 1 on expected, got 'x'"),
        ("Model.stream max_chunk", (ArgumentError,), "max_chunk: a whole number from 1 on expected, got 'x'"),
        ("Model.stream initial h0", (DtypeError,), "initial: 'h0': numbers or booleans expected, got 'x'"),
        ("Stream.reset", (ArgumentError,), "rows: a sequence expected, got 'x'"),
        ("Stream.restore", (ArgumentError,), "a snapshot is bytes, as Stream.snapshot gives them, got 'x'"),
        ("Stream.state", (ArgumentError,), "state: a dict by name expected, got 'x'"),
        ("Stream.state by name", (FeedError, KeyError), "no state 'x'"),
        ("load", (MissingFileError, OnnxImportError, FileNotFoundError, OSError), "x: no such file"),
    ],
)
def test_a_text_where_something_else_belongs(what, kinds, text):
    with pytest.raises(LstmInferError, match=text) as found:
        ENTRIES[what]("x")
    for kind in kinds:
        assert isinstance(found.value, kind), f"{type(found.value)} is no {kind}"


def test_a_missing_file_of_weights(tmp_path):
    model = onnx.load_from_string(DATA)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").unlink()
    with pytest.raises(FileNotFoundError, match="weights") as found:
        lstm_infer.load(tmp_path / "m.onnx")
    assert isinstance(found.value, OnnxImportError)


def test_a_mask_is_not_lost_in_silence():
    masked = np.ma.masked_array(X, mask=X == 0)
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    model = lstm_infer.load(DATA)
    for call in (
        lambda: stream.run(masked),
        lambda: stream.step(masked[:1]),
        lambda: model.run({**FEEDS, "x": masked}),
        lambda: model.stream(initial={"h0": np.ma.masked_array(H)}),
    ):
        with pytest.raises(DtypeError, match=r"a masked array.*filled\(\)"):
            call()
    stream.run(masked.filled(1.0))


@pytest.mark.parametrize("module", ["numpy.ma", "torch", "torch.nn", "keras", "logging"])
def test_a_module_that_another_thread_is_importing(module, monkeypatch):
    """It is there, and has nothing yet."""
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    model = lstm_infer.load(stream_models.hidden_state())
    want = model.stream().run(X)
    with model.pool() as pool:
        id = pool.open()
        assert np.array_equal(pool.submit(id, X[0]).result(10), want[0])
        pool.close(np.array([id]))
    assert np.array_equal(model.stream().run(memoryview(X)), want)
    with pytest.raises(OnnxImportError, match="a model is a path"):
        lstm_infer.load(model)
    with pytest.raises(DtypeError):
        model.stream().run(np.ma.masked_array(X) if module != "numpy.ma" else X.tolist())


# Values that a step on the host does not take.


def divided(op: str, dtype: int) -> bytes:
    nodes = [onnx.helper.make_node(op, ["a", "b"], ["y"], name="ratio")]
    ports = [onnx.helper.make_tensor_value_info(name, dtype, ["N"]) for name in "aby"]
    graph = onnx.helper.make_graph(nodes, "g", ports[:2], ports[2:])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.parametrize("name", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_a_division_by_zero_names_its_node(op, name):
    model = lstm_infer.load(divided(op, getattr(TensorProto, name.upper())))
    ones = np.ones(3, name)
    assert model.run({"a": ones, "b": ones})["y"].tolist() == ([1] * 3 if op == "Div" else [0] * 3)
    with pytest.raises(ShapeError, match=r"node 'ratio'.*zero"):
        model.run({"a": ones, "b": 0 * ones})


@pytest.mark.parametrize("name", ["int32", "uint64"])
def test_a_division_by_zero_in_a_stream_names_its_node(name):
    dtype = getattr(TensorProto, name.upper())
    nodes = [
        onnx.helper.make_node("Div", ["a", "b"], ["y"], name="ratio"),
        onnx.helper.make_node("Add", ["count", "one"], ["count_out"]),
    ]
    ports = {"a": dtype, "b": dtype, "count": TensorProto.INT64, "y": dtype, "count_out": TensorProto.INT64}
    infos = [onnx.helper.make_tensor_value_info(n, t, [3]) for n, t in ports.items()]
    one = onnx.numpy_helper.from_array(np.ones(3, np.int64), "one")
    graph = onnx.helper.make_graph(nodes, "g", infos[:3], infos[3:], [one])
    opsets = [onnx.helper.make_opsetid("", 17)]
    stream = lstm_infer.load(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)).stream()
    ones = np.ones(3, name)
    stream.step({"a": ones, "b": ones})
    before = stream.snapshot()
    with pytest.raises(ShapeError, match=r"node 'ratio'.*zero"):
        stream.step({"a": ones, "b": 0 * ones})
    assert stream.snapshot() == before


# Memory that there is not.

HUGE = np.broadcast_to(np.float32(0), (1 << 40, 1, stream_models.INPUTS))


@pytest.mark.parametrize("call", ["run", "stream", "lag"])
def test_a_call_that_needs_more_memory_than_there_is(call):
    made = {
        "run": lambda: lstm_infer.load(stream_models.hidden_state()).run({"x": HUGE}),
        "stream": lambda: lstm_infer.load(stream_models.hidden_state()).stream().run(HUGE),
        "lag": lambda: lstm_infer.load(stream_models.centred_conv()).stream().run(HUGE.transpose(1, 2, 0)),
    }[call]
    with pytest.raises(LstmInferError):
        made()


def test_a_frame_that_cannot_be_copied():
    pool = lstm_infer.load(stream_models.hidden_state()).pool()
    for frame in (HUGE, {"x": HUGE}):
        with pytest.raises(LstmInferError, match="memory"):
            pool.submit(pool.open(), frame)


# Behind a flush.


def test_behind_a_flush_only_a_reset_goes_on():
    stream = lstm_infer.load(stream_models.centred_conv()).stream()
    x = np.zeros((1, stream_models.INPUTS, 4), np.float32)
    stream.run(x)
    assert stream.flush().shape[0] == 2
    for call in (stream.flush, lambda: stream.run(x), lambda: stream.run(x[..., :0]), lambda: stream.step(x[..., 0])):
        with pytest.raises(StateError, match=r"flushed.*reset"):
            call()
    stream.reset()
    stream.run(x)


@pytest.mark.parametrize("build", [stream_models.hidden_state, stream_models.frame])
def test_where_nothing_is_behind_a_flush_gives_no_steps_and_the_stream_goes_on(build):
    stream = lstm_infer.load(build()).stream()
    x = np.ones((3, 1, stream_models.INPUTS), np.float32)
    whole = lstm_infer.load(build()).stream().run(np.concatenate([x, x]))
    first = stream.run(x)
    assert stream.flush().shape[0] == stream.flush().shape[0] == 0
    tolerances.exact(np.concatenate([first, stream.run(x)]), whole)
