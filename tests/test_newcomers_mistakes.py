"""What goes wrong in the first hour, and what the message says to do: each remedy stands in the message."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from onnx import helper

import lstm_infer
import lstm_infer.onnxruntime as ort
import stream_models
from lstm_infer.cli import command
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.errors import (
    ArgumentError,
    DtypeError,
    FeedError,
    IsaError,
    LstmInferError,
    MissingFileError,
    NotStreamableError,
    OnnxImportError,
    ShapeError,
    StateError,
)

N, UNITS = stream_models.INPUTS, stream_models.HIDDEN
FRAME = np.zeros((1, N), np.float32)
CHUNK = np.zeros((7, 1, N), np.float32)


def plain():
    """A stream of one signal, [T, 1, N]."""
    return lstm_infer.load(stream_models.hidden_state()).stream()


def with_states():
    """A model whose states are ports."""
    return lstm_infer.load(stream_models.state_io())


def of_any_size():
    """One frame [1, N] and a state."""
    ports = [helper.make_tensor_value_info(*port) for port in
             (("x", 1, [1, "N"]), ("s", 1, [1, 1]), ("y", 1, [1, 1]), ("next", 1, [1, 1]))]  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Add", ["mean", "s"], ["y"]),
        helper.make_node("Tanh", ["y"], ["next"]),
    ]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def look_ahead():
    return lstm_infer.load(stream_models.centred_conv()).stream()


def after_flush():
    stream = look_ahead()
    stream.run(np.zeros((1, N, 9), np.float32))
    stream.flush()
    stream.run(np.zeros((1, N, 9), np.float32))


def two_threads():
    """A second thread steps a stream while a first one is inside."""
    stream, found = plain(), []
    inside, leave = threading.Event(), threading.Event()

    def hold(now):
        inside.set()
        leave.wait(10)
        return None, now

    first = threading.Thread(target=stream._alone, args=(hold,))
    first.start()
    assert inside.wait(10)
    try:
        stream.step(FRAME)
    except LstmInferError as error:
        found.append(error)
    finally:
        leave.set()
        first.join()
    raise found[0]


def ended_pool():
    pool = lstm_infer.load(stream_models.frame()).pool()
    pool.open()
    pool.close()  # as of a file or a pool of processes
    pool.open()


def a_pool():
    pool = lstm_infer.load(stream_models.hidden_state()).pool()
    return pool, pool.open()


def one_id():
    pool, id = a_pool()
    pool.step(id, FRAME)


def no_axis_of_ids():
    pool, id = a_pool()
    pool.step([id], FRAME)


def a_lost_id():
    a_pool()[0].close(None)


MISTAKES = {
    "samples of 16 bits": (lambda: plain().step(FRAME.astype(np.int16)), DtypeError, "/ 32768"),
    "a rate into step": (
        lambda: plain().step(FRAME, 16000),
        DtypeError,
        "into expected, got 16000; give np.empty((1, ",
    ),
    "out of what is no array": (lambda: plain().step(FRAME, out=range(3)), DtypeError, "give np.empty((1, "),
    "a snapshot for a model": (lambda: lstm_infer.load(plain().snapshot()), OnnxImportError, "stream().restore(bytes)"),
    "out of float64": (lambda: plain().step(FRAME, out=np.zeros((1, UNITS))), DtypeError, "give np.empty((1, "),
    "[B, T, F] into run": (
        lambda: plain().run(CHUNK.swapaxes(0, 1)),
        ShapeError,
        "another order of the axes is np.swapaxes(x, 0, 1)",
    ),
    "[T, F, B] into run": (lambda: plain().run(CHUNK.swapaxes(1, 2)), ShapeError, "np.swapaxes(x, 1, 2)"),
    "[F, B] into step": (lambda: plain().step(FRAME.T), ShapeError, "np.swapaxes(x, 0, 1)"),
    "a model by its class": (lambda: lstm_infer.Model("model.onnx"), ArgumentError, "lstm_infer.load(path)"),
    "a model by its class and a name": (
        lambda: lstm_infer.Model(path="m.onnx"),
        ArgumentError,
        "lstm_infer.load(path)",
    ),
    "a stream by its class": (lambda: lstm_infer.Stream(with_states()), ArgumentError, "load(path).stream()"),
    "a pool by its class": (lambda: lstm_infer.StreamPool(with_states()), ArgumentError, "load(path).pool()"),
    "reset_states": (lambda: plain().reset_states(), AttributeError, "it is called reset()"),
    "predict of a stream": (lambda: plain().predict(FRAME), AttributeError, "step(x) takes one time step"),
    "close of a stream": (lambda: plain().close(), AttributeError, "there is nothing to close"),
    "a pool that was closed": (ended_pool, StateError, "model.pool() makes a new one"),
    "an id that was lost": (a_lost_id, ArgumentError, "a sequence of ids expected, got None"),
    "one id": (one_id, ArgumentError, "of one signal: ["),
    "no axis of ids": (no_axis_of_ids, ShapeError, "np.stack(frames) in the order of ids"),
    "float64": (lambda: plain().step(FRAME.astype(float)), DtypeError, "np.asarray(x, np.float32)"),
    "bytes": (lambda: plain().step(FRAME.tobytes()), DtypeError, "np.frombuffer(x, np.float32)"),
    "float64 by the buffer": (
        lambda: plain().step(memoryview(FRAME.astype(float))),
        DtypeError,
        "np.asarray(x, np.float32)",
    ),
    "a list of lists": (lambda: plain().step([[0.0] * N]), DtypeError, "np.asarray(x, np.float32)"),
    "a chunk into step": (lambda: plain().step(CHUNK), ShapeError, "run() takes these 7 steps at once"),
    "[T, F] into step": (lambda: plain().step(CHUNK[:, 0]), ShapeError, "run(np.expand_dims(x, 1))"),
    "[T] into run": (
        lambda: lstm_infer.load(MODEL).stream().run(np.zeros(9, np.float32)),
        ShapeError,
        "x.reshape(-1, 1, 1)",
    ),
    "[T, F] into run": (lambda: plain().run(CHUNK[:, 0]), ShapeError, "run(np.expand_dims(x, 1))"),
    "frames without their batch into run": (
        lambda: lstm_infer.load(stream_models.frame()).stream().run(FRAME[[0] * 7]),
        ShapeError,
        "run(np.expand_dims(x, 1))",
    ),
    "[F] into step": (lambda: plain().step(FRAME[0]), ShapeError, f"x.reshape(1, {N})"),
    "a batch into a stream of one": (lambda: plain().step(np.zeros((3, N), np.float32)), ShapeError, "stream(batch=3)"),
    "a batch of chunks": (lambda: plain().run(np.zeros((7, 3, N), np.float32)), ShapeError, "stream(batch=3)"),
    "another feature size": (lambda: plain().step(FRAME[:, 1:]), ShapeError, f"takes [1, 1, {N}] or [1, {N}], got"),
    "another name": (lambda: plain().step({"input": FRAME}), FeedError, "the stream takes ['x']"),
    "h fed by hand": (
        lambda: with_states().stream().step({"x": FRAME, "h0": np.zeros((1, 1, UNITS), np.float32)}),
        FeedError,
        "leave it out, the stream feeds it back itself, and begins at stream(initial={'h0': ...})",
    ),
    "no h in run": (lambda: with_states().run({"x": CHUNK}), FeedError, "a state, which model.stream() carries"),
    "an array into Model.run": (
        lambda: with_states().run(CHUNK),
        ArgumentError,
        "write run({'x': ..., 'h0': ..., 'c0'",
    ),
    "the order of onnxruntime": (
        lambda: with_states().run(None, {"x": CHUNK}),
        ArgumentError,
        "write run(feeds, outputs)",
    ),
    "step of a model": (lambda: with_states().step(FRAME), AttributeError, "stream = model.stream()"),
    "predict": (lambda: with_states().predict(FRAME), AttributeError, "it is called run("),
    "both directions": (
        lambda: lstm_infer.load(stream_models.both_ways()).stream(),
        NotStreamableError,
        "run() takes the whole sequence",
    ),
    "step where it looks ahead": (
        lambda: look_ahead().step(np.zeros((1, N), np.float32)),
        ShapeError,
        "looks ahead by 2 steps, so a step is not always answered by a step; use run()",
    ),
    "run after flush": (after_flush, StateError, "reset() begins a new one"),
    "two threads in a stream": (two_threads, StateError, "give each thread a stream of its own (model.stream() or"),
    "a state of another name": (
        lambda: with_states().stream(initial={"h": 0}),
        FeedError,
        "this stream carries ['c0', 'h0']",
    ),
    "a GPU": (lambda: lstm_infer.load(stream_models.frame(), isa="cuda"), IsaError, "no instruction set of a CPU"),
    "fp16": (
        lambda: lstm_infer.load(stream_models.frame(), precision="fp16"),
        ArgumentError,
        "one of 'f32', 'f16', 'int8'",
    ),
    "weights alone": (lambda: lstm_infer.load({"weight": FRAME}), OnnxImportError, "lstm_infer.from_torch(module"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_message_names_the_remedy(name):
    make, kind, remedy = MISTAKES[name]
    with pytest.raises(kind) as caught:
        make()
    assert remedy in str(caught.value)


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 200)


def of_weights(path):
    """The file of a model's external data."""
    path.with_suffix("").write_bytes(stream_models.hidden_state())
    path.write_bytes(bytes(range(200, 256)) * 9)


def folder(path, *names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"\x08\x01")


FILES = {
    "net.pt": (lambda p: zipped(p, "net/data.pkl", "net/version"), "lstm_infer.from_torch(module, example_inputs)"),
    "net.keras": (lambda p: zipped(p, "metadata.json", "config.json"), "lstm_infer.from_keras(model)"),
    "net.npz": (lambda p: np.savez(p, x=FRAME), "a NumPy .npz file: arrays alone are no model"),
    "net.zip": (lambda p: zipped(p, "net/m.onnx"), "unpack it, and give that file"),
    "net.onnx.gz": (lambda p: p.write_bytes(gzip.compress(stream_models.hidden_state())), "gzip.open(path)"),
    "net.pkl": (lambda p: p.write_bytes(pickle.dumps({})), "a module that is in it goes to lstm_infer.from_torch"),
    "net.json": (lambda p: p.write_text('{"irVersion": 8}'), "onnx.load(path, format='json') reads the other"),
    "net.onnx.data": (of_weights, "it holds the weights of 'net.onnx' beside it: give that file"),
    "net.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "lstm_infer.from_keras(model)"),
    "net.tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(99)), "lstm_infer.from_keras(model)"),
    "net.ort": (lambda p: p.write_bytes(b"\x1c\0\0\0ORTM" + bytes(99)), "give the .onnx it was made from"),
    "net.safetensors": (
        lambda p: p.write_bytes(bytes([50, *bytes(7)]) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
        "weights alone; load them into the module",
    ),
    "saved": (lambda p: folder(p, "saved_model.pb"), "python -m tf2onnx.convert --saved-model"),
    "saved_model.pb": (lambda p: p.write_bytes(b"\x08\x01"), "python -m tf2onnx.convert --saved-model"),
    "models": (lambda p: folder(p, "a.onnx", "readme"), "give a file in it: 'a.onnx'"),
    "empty": (folder, "give the path of the .onnx file"),
    "pointer.onnx": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "git lfs pull",
    ),
    "page.onnx": (lambda p: p.write_text("<!DOCTYPE html><html></html>"), "download the file itself"),
    "half.onnx": (
        lambda p: p.write_bytes(stream_models.hidden_state()[:300]),
        "get the file again, or export it again",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_model_says_what_it_is(name, tmp_path):
    make, remedy = FILES[name]
    make(tmp_path / name)
    with pytest.raises(OnnxImportError) as caught:
        lstm_infer.load(tmp_path / name)
    assert remedy in str(caught.value)


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "model_v2.onnx").write_bytes(stream_models.frame())
    monkeypatch.chdir(tmp_path)
    for given, said in {
        "model_v1.onnx": f"no such file in {tmp_path}; is it 'model_v2.onnx'?",
        "model_v2": "is it 'model_v2.onnx'?",
        "nothing": f"nothing: no such file in {tmp_path}",
        "elsewhere/x.onnx": f"there is no folder {tmp_path / 'elsewhere'}",
    }.items():
        with pytest.raises(MissingFileError) as caught:
            lstm_infer.load(given)
        assert said in str(caught.value)


def test_a_provider_that_is_no_cpu_is_named():
    from lstm_infer.doors import ort_options

    ort_options._said.discard("CUDAExecutionProvider")
    with pytest.warns(UserWarning, match="all runs on the CPU: CUDAExecutionProvider"):
        lstm_infer.InferenceSession(stream_models.frame(), providers=["CUDAExecutionProvider"])


def test_a_tensor_with_a_gradient():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(DtypeError, match=r"requires grad; give x\.detach\(\)"):
        plain().step(torch.zeros(1, N, requires_grad=True))
    with pytest.raises(OnnxImportError, match=r"call lstm_infer\.from_torch\(module, example_inputs\)"):
        lstm_infer.load(torch.nn.LSTM(N, 3))


def test_an_array_of_others_is_shown_by_its_form():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ArgumentError, match=r"got a Tensor of torch.float32 \[7, 1, 3\]; write run"):
        with_states().run(torch.zeros(7, 1, 3))
    with pytest.raises(DtypeError, match="give it as an array of NumPy"):  # its type is right
        plain().step(torch.zeros(1, N).to_sparse())


def test_an_end_of_a_pool():
    pool = lstm_infer.load(stream_models.frame()).pool(max_wait=60)
    ids = pool.open_many(3)
    waiting = pool.submit(int(ids[0]), FRAME)
    pool.close()
    assert len(pool) == 0 and not pool.ids.size
    with pytest.raises(StateError):
        waiting.result(10)
    pool.close()  # as often as one likes


def test_a_value_is_shown_in_one_line():
    class Table:
        def __repr__(self):
            return "  a  b\n0 1  2\n"

    with pytest.raises(ArgumentError, match="got a b 0 1 2"):
        with_states().run(Table())


def at_its_end():
    file = io.BytesIO(stream_models.hidden_state())
    file.read()
    lstm_infer.load(file)


def of_bfloat16():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(stream_models.frame())
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    return model


def in_an_archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("m.onnx", stream_models.hidden_state())
    lstm_infer.load(zipfile.Path(data, "m.onnx"))


MORE = {
    "complex numbers": (lambda: plain().step(FRAME + 1j), DtypeError, "np.stack([x.real, x.imag], axis)"),
    "complex numbers of a spectrum": (
        lambda: plain().run(CHUNK + 1j),
        DtypeError,
        "np.abs(x) where they are magnitudes",
    ),
    "a path in an archive": (in_an_archive, OnnxImportError, "give its read_bytes()"),
    "a file as an address": (
        lambda: lstm_infer.load("file:///models/m.onnx"),
        MissingFileError,
        "without the scheme it is a path: '/models/m.onnx'",
    ),
    "a variable in a path": (lambda: lstm_infer.load("$MODELS/m.onnx"), MissingFileError, "os.path.expandvars(path)"),
    "a snapshot by its path": (lambda: plain().restore("a.snap"), ArgumentError, "pathlib.Path(path).read_bytes()"),
    "a snapshot as a file object": (lambda: plain().restore(io.BytesIO(b"")), ArgumentError, "give its read()"),
    "a snapshot as an array": (
        lambda: plain().restore(np.frombuffer(plain().snapshot(), np.uint8)),
        ArgumentError,
        "give its tobytes()",
    ),
    "a time axis without a name": (
        lambda: lstm_infer.load(MODEL, time_axis=1),
        ArgumentError,
        "write time_axis={'a name': ...}",
    ),
    "first states without names": (
        lambda: with_states().stream(initial=(FRAME, FRAME)),
        ArgumentError,
        "write initial={'a name': ...}",
    ),
    "an address": (lambda: lstm_infer.load("https://example.org/m.onnx"), MissingFileError, "download the file"),
    "a file that was read": (at_its_end, OnnxImportError, "seek(0) goes back"),
    "[T, F] into Model.run": (
        lambda: lstm_infer.load(stream_models.hidden_state()).run({"x": CHUNK[:, 0]}),
        ShapeError,
        f"write x.reshape(1, 7, {N}) or x.reshape(7, 1, {N})",
    ),
    "[T] into Model.run": (
        lambda: lstm_infer.load(MODEL).run({"x": np.zeros(9, np.float32)}),
        ShapeError,
        "got [9]; write x.reshape(9, 1, 1)",
    ),
    "one signal into a stream of two": (
        lambda: lstm_infer.load(stream_models.hidden_state()).stream(2).step(FRAME),
        ShapeError,
        "the stream was made for 2 signals, one takes model.stream()",
    ),
    "a chunk of one signal into a stream of two": (
        lambda: lstm_infer.load(stream_models.hidden_state()).stream(2).run(CHUNK),
        ShapeError,
        "the stream was made for 2 signals, one takes model.stream()",
    ),
    "samples into a frame of any size": (
        lambda: lstm_infer.load(of_any_size()).stream().step(np.zeros(9, np.float32)),
        ShapeError,
        "write x.reshape(1, -1)",
    ),
    "a mask of rows": (
        lambda: lstm_infer.load(stream_models.hidden_state()).stream(2).reset(rows=[True, False]),
        ArgumentError,
        "write np.flatnonzero(mask)",
    ),
    "a mask of rows, an array": (
        lambda: lstm_infer.load(stream_models.hidden_state()).stream(2).reset(rows=np.array([True, False])),
        ArgumentError,
        "write np.flatnonzero(mask)",
    ),
    "bfloat16": (
        lambda: lstm_infer.load(of_bfloat16()),
        OnnxImportError,
        "export the model in float32 (module.float())",
    ),
    "one row": (lambda: plain().reset(rows=1), ArgumentError, "write [1]"),
    "one sequence, a dict": (
        lambda: lstm_infer.load(stream_models.hidden_state()).run_many({"x": CHUNK}),
        ArgumentError,
        "write [x] where it is one",
    ),
    "one sequence, an array": (
        lambda: lstm_infer.load(stream_models.hidden_state()).run_many(CHUNK),
        ShapeError,
        "one sequence alone is given as [x]",
    ),
    "frames before ids": (
        lambda: a_pool()[0].step(np.zeros((1, 1, N), np.float32), [0]),
        ArgumentError,
        "ids come first: step(ids, frames)",
    ),
    "a constant that is fed": (
        lambda: lstm_infer.load(stream_models.switched_sizes(), constants={"which": 1}).stream().run({"which": 1}),
        FeedError,
        "'which' was made a constant by load(): leave it out",
    ),
    "input_names": (lambda: with_states().input_names, AttributeError, "model.inputs are records"),
    "save": (lambda: with_states().save("x"), AttributeError, "lstm_infer.convert(model, path) writes it"),
    "to": (lambda: with_states().to("cuda"), AttributeError, "it runs on the CPU"),
    "step of a session": (
        lambda: lstm_infer.InferenceSession(stream_models.frame()).step(FRAME),
        AttributeError,
        "session.model.stream() carries the state",
    ),
    "inputs of a session": (
        lambda: lstm_infer.InferenceSession(stream_models.frame()).inputs,
        AttributeError,
        "get_inputs() has them",
    ),
    "reset of a model": (lambda: with_states().reset_states(), AttributeError, "stream = model.stream() has"),
    "what a file says of itself": (
        lambda: with_states().metadata,
        AttributeError,
        "get_modelmeta() has what a file says",
    ),
    "close of a session": (
        lambda: lstm_infer.InferenceSession(stream_models.frame()).close(),
        AttributeError,
        "there is nothing to close",
    ),
    "add of a pool": (lambda: a_pool()[0].add(), AttributeError, "open() begins a signal and gives its id"),
    "reset_states of a pool": (lambda: a_pool()[0].reset_states(), AttributeError, "it is called reset(id)"),
    "an option that is nearly one": (
        lambda: setattr(ort.SessionOptions(), "intra_op_threads", 1),
        AttributeError,
        "is it 'intra_op_num_threads'?",
    ),
    "an option that is none": (
        lambda: ort.SessionOptions().register_custom_ops_library("x.so"),
        AttributeError,
        "docs/onnxruntime.md says what is there",
    ),
    "a command as a function": (lambda: lstm_infer.verify, AttributeError, "lstm-infer verify model.onnx"),
    "load_model": (lambda: lstm_infer.load_model, AttributeError, "is it 'load'?"),
    "Session": (lambda: lstm_infer.Session, AttributeError, "is it 'InferenceSession'?"),
    "torch's name": (lambda: lstm_infer.from_pytorch, AttributeError, "is it 'from_torch'?"),
    "a module that is asked for": (lambda: lstm_infer.ray, AttributeError, "write import lstm_infer.ray"),
}


@pytest.mark.parametrize("name", MORE)
def test_more_of_them(name, monkeypatch):
    monkeypatch.delattr(lstm_infer, "ray", raising=False)  # another test may have imported it
    make, kind, remedy = MORE[name]
    with pytest.raises(kind) as caught:
        make()
    assert remedy in str(caught.value), str(caught.value)


def test_keras_without_its_backend_is_no_missing_keras(tmp_path):
    (tmp_path / "keras.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')")
    code = "import lstm_infer; lstm_infer.from_keras(3)"
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert "No module named 'tensorflow'; it runs on PyTorch where os.environ['KERAS_BACKEND'] = 'torch'" in done.stderr
    assert "not installed" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["net.onnx"], "lstm-infer: a command expected, got a file; write lstm-infer inspect net.onnx\n"),
        (["a/net.lsi", "--json"], "lstm-infer: a command expected, got a file; write lstm-infer inspect a/net.lsi\n"),
        (["inspct", "net.onnx"], "lstm-infer: 'inspct' is no command; is it 'inspect'?\n"),
    ],
)
def test_a_command_that_is_none(argv, said, capsys):
    assert command.main(argv) == 2
    assert capsys.readouterr().err == said


def test_every_command_is_known(capsys):
    for name in command.COMMANDS:
        assert command.main([name, "--help"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command._parser().parse_args(["x"])
    said = capsys.readouterr().err
    assert set(re.findall(r"'(\w+)'", said.partition("choose from")[2]) or command.COMMANDS) == set(command.COMMANDS)
