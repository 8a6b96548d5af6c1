"""What other packages call things, or a newcomer does: what an AttributeError says beyond the name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = ["of_model", "of_options", "of_package", "of_pool", "of_session", "of_stream"]

_COMMANDS = ("verify", "bench", "inspect")
_OTHER_MODULES = ("cli", "keyed", "ray")  # which need what is not asked for, or are no part of the engine

_MODEL = {
    (
        "step",
        "state",
        "reset",
        "reset_state",
        "reset_states",
        "flush",
    ): "a model has no memory: stream = model.stream() has, then stream.step(x)",
    ("predict", "forward", "infer"): "it is called run({name: array}), or streamed: model.stream()",
    ("input_names", "get_inputs"): "model.inputs are records, each with its name, shape and dtype",
    ("output_names", "get_outputs"): "model.outputs are records, each with its name, shape and dtype",
    ("save", "convert", "export"): "lstm_infer.convert(model, path) writes it",
    (
        "metadata",
        "get_modelmeta",
        "meta",
    ): "lstm_infer.InferenceSession(path).get_modelmeta() has what a file says of itself",
    ("to", "cuda", "cpu", "eval"): "there is nothing to move or to switch: it runs on the CPU, as it is",
}
_STREAM = {
    ("predict", "forward", "infer", "process"): "step(x) takes one time step, run(x) several",
    ("reset_state", "reset_states", "clear"): "it is called reset()",
    ("states", "get_state", "get_states", "hidden", "h", "c"): "state is a dict of them, to be read and set",
    ("set_state", "set_states", "load_state", "load_state_dict"): "write state[name] = array, or restore(bytes)",
    ("save_state", "state_dict", "save"): "snapshot() gives bytes that restore() takes",
    ("copy", "clone"): "it is called fork()",
    ("close", "release"): "there is nothing to close: its memory goes with it",
}
_SESSION = {
    ("step", "stream", "state", "reset"): "session.model.stream() carries the state: step(x), run(xs)",
    ("predict", "forward", "infer"): "it is called run(None, {name: array})",
    ("inputs",): "get_inputs() has them",
    ("outputs",): "get_outputs() has them",
    ("close", "release", "dispose", "__enter__", "__exit__"): "there is nothing to close: its memory goes with it",
}
_POOL = {
    ("add", "new", "create", "append", "join", "stream_open"): "open() begins a signal and gives its id",
    ("remove", "delete", "pop", "leave", "discard"): "close(id) ends a signal",
    ("reset_state", "reset_states", "clear"): "it is called reset(id)",
    (
        "predict",
        "forward",
        "infer",
        "process",
    ): "step(ids, frames) takes one time step of each, run(ids, chunks) several",
    (
        "state",
        "states",
        "get_state",
        "set_state",
    ): "snapshot(id) has the state of a signal, stream(id) takes the signal out",
    ("shutdown", "stop", "terminate"): "close() without an id ends the pool",
}


def of_model(name: str) -> str:
    """Of a `Model`; "" where nothing is known."""
    return _looked_up(_MODEL, name)


def of_stream(name: str) -> str:
    """Of a `Stream`."""
    return _looked_up(_STREAM, name)


def of_session(name: str) -> str:
    """Of an `InferenceSession`."""
    return _looked_up(_SESSION, name)


def of_pool(name: str) -> str:
    """Of a `StreamPool`."""
    return _looked_up(_POOL, name)


def of_options(names: Sequence[str], name: str) -> str:
    """Of options, which have these names."""
    near = get_close_matches(name, [one for one in names if not one.startswith("_")], 1, 0.6)
    return (f"; is it {near[0]!r}?" if near else "") + "; docs/onnxruntime.md says what is there"


def of_package(package: str, names: Sequence[str], name: str) -> str:
    """Of the package, whose public names these are."""
    if name.startswith("_"):
        return ""
    if name in _OTHER_MODULES:
        return f"; write import {package}.{name}"
    if name in _COMMANDS:
        return f"; it is a command: lstm-infer {name} model.onnx"
    word, known = name.lower(), {one.lower(): one for one in names}
    near = [one for one in known if word.startswith(f"{one}_")] or get_close_matches(word, known, 1, 0.55)
    return f"; is it {known[near[0]]!r}?" if near else ""


def _looked_up(table: dict[tuple[str, ...], str], name: str) -> str:
    return next((f"; {instead}" for called, instead in table.items() if name in called), "")
