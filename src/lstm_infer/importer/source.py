"""From what the caller gave to a ModelProto and the folder its external data may come from."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

from lstm_infer.errors import MissingFileError, OnnxImportError

from ..frozen import frozen
from ..imported import is_of

__all__ = ["Source", "parse", "text"]

MAX_BYTES = 2**31 - 1
"""What one protobuf message can hold."""

FROM_TORCH = "lstm_infer.from_torch(module, example_inputs)"
FROM_KERAS = "lstm_infer.from_keras(model)"
_ZIPS = (
    (b"metadata.json", f"a .keras file; give what keras.saving.load_model returns to {FROM_KERAS}"),
    (b"/data.pkl", f"a PyTorch file; load it with torch and give the module to {FROM_TORCH}"),
    (b".npy", "a NumPy .npz file: arrays alone are no model"),
    (b".onnx", "a zip archive with an .onnx file in it: unpack it, and give that file"),
)
"""By a name that is in the archive."""

_SAVED = (
    "a TensorFlow SavedModel; convert it with tf2onnx (python -m tf2onnx.convert --saved-model FOLDER --output model.onnx), or "
    f"give the Keras model to {FROM_KERAS}"
)
_LOOKS = (
    (b"PK\x03\x04", f"a zip archive (a PyTorch file is one; from a module: {FROM_TORCH})"),
    (
        b"\x1f\x8b",
        "a gzip archive: unpack it (gunzip, tar xzf), or give lstm_infer.load the file object of gzip.open(path)",
    ),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"LISNAP", "a snapshot of a stream: load the model, and model.stream().restore(bytes)"),
    (b"\x89HDF", f"an HDF5 file (Keras .h5); load it with keras and give the model to {FROM_KERAS}"),
    (b"version https://git-lfs", "a Git LFS pointer: the model itself was not downloaded (git lfs pull)"),
    *(
        (b"\x80" + bytes([n]), f"a Python pickle, which is not opened; a module that is in it goes to {FROM_TORCH}")
        for n in range(2, 6)
    ),
    (b"<", "an HTML or XML page: download the file itself (the raw file), not the page that shows it"),
    (
        b"{",
        "JSON text; the binary form of ONNX is needed (onnx.load(path, format='json') reads the other, and gives what is taken)",
    ),
)


@frozen
class Source:
    """Where a model came from: its name in messages, and the folder of its external data (None: it has no folder)."""

    label: str
    folder: str | None


def text(value: str, where: str) -> str:
    """A string of the file. Protobuf hands out bytes, not an error, where they are not UTF-8."""
    if not isinstance(value, str):
        raise OnnxImportError(f"{where}: the name {value!r} in it is not UTF-8 text; the file is damaged")
    return value


def parse(source: object) -> tuple[onnx.ModelProto, Source]:
    """The ModelProto in a path, bytes, a ModelProto, or what holds one (torch.onnx.ONNXProgram)."""
    held = getattr(source, "model_proto", None)
    if isinstance(source, onnx.ModelProto):
        model, file = source, Source("the ModelProto", None)
    elif isinstance(held, onnx.ModelProto):
        model, file = held, Source(f"the {type(source).__name__}", None)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        file = Source(f"the model ({len(source)} bytes)", None)
        model = _decode(bytes(source), file.label)
    elif isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if not isinstance(path, str):
            path = os.fsdecode(path)
        path = os.path.expanduser(path)
        file = Source(path, os.path.dirname(os.path.abspath(path)) if "\0" not in path else None)
        model = _decode(_read(path), path)
    else:
        raise OnnxImportError(
            f"a model is a path, bytes, a file object or an onnx.ModelProto, not {type(source).__name__}{_remedy(source)}"
        )
    if not model.HasField("graph"):
        raise OnnxImportError(f"{file.label}: holds no graph, so it is not an ONNX model (or it is an empty one)")
    return model, file


def _remedy(source: object) -> str:
    """What to call with a model of a framework; none is imported to find out."""
    for module, name, call in (("keras", "Model", FROM_KERAS), ("torch.nn", "Module", FROM_TORCH)):
        if is_of(module, name, source):
            return f"; call {call}"
    if isinstance(source, Mapping):
        return f"; weights alone are no model: load them into the module, and call {FROM_TORCH}"
    if callable(getattr(source, "read_bytes", None)):  # a path in a zip archive, a resource of a package
        return "; give its read_bytes()"
    if hasattr(source, "get_inputs"):
        return "; give the path that the session was made from"
    return ""


def _no_file(path: str) -> str:
    """What a path leads to instead, and what to give."""
    if not os.path.isdir(path):
        return "is not a regular file; give the path of the .onnx file"
    names = os.listdir(path)
    if "saved_model.pb" in names:
        return f"is {_SAVED}"
    models = sorted(name for name in names if name.endswith((".onnx", ".lsi")))
    if models:
        return f"is a folder; give a file in it: {', '.join(map(repr, models[:3]))}"
    return "is a folder; give the path of the .onnx file"


def _near(path: str) -> str:
    """Where a file was looked for, and what is there that it may be."""
    import difflib

    folder, name = os.path.split(os.path.abspath(path))
    if path == "-":
        return "; a model is not read through a pipe: give the path of the .onnx file"
    if path.startswith("file://"):
        return f"; without the scheme it is a path: {path.removeprefix('file://')!r}"
    if "$" in path or "%" in path:
        return "; variables are not filled in here: give os.path.expandvars(path)"
    if "://" in path:
        return "; this is an address: download the file, and give its path"
    if not os.path.isdir(folder):
        return f"; there is no folder {folder}"
    there = [n for n in os.listdir(folder) if n.endswith((".onnx", ".lsi"))]
    near = difflib.get_close_matches(name, there, 1) or [n for n in there if os.path.splitext(n)[0] == name]
    where = "" if os.path.isabs(path) else f" in {folder}"
    return f"{where}; is it {near[0]!r}?" if near else where


def _read(path: str) -> bytes:
    try:
        if "\0" in path:
            raise OnnxImportError(f"{path!r}: a path cannot hold a zero byte; for a model in memory pass bytes")
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            raise OnnxImportError(f"{path}: {_no_file(path)}")
        if info.st_size > MAX_BYTES:
            raise OnnxImportError(
                f"{path}: {info.st_size} bytes, but one ONNX file holds at most {MAX_BYTES}; save its weights as external data"
            )
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path or repr(path)}: no such file{_near(path)}") from error
    except OSError as error:
        raise OnnxImportError(f"{path}: cannot be read: {error.strerror or error}") from error


def _decode(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise OnnxImportError(f"{label}: is empty; get the file again, or export it again")
    if len(data) > MAX_BYTES:
        raise OnnxImportError(f"{label}: one ONNX model holds at most {MAX_BYTES} bytes; save weights as external data")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise OnnxImportError(f"{label}: is not an ONNX model, or is cut short: {_guess(data, label)}") from error
    if not model.HasField("graph"):
        raise OnnxImportError(f"{label}: holds no graph, so it is not an ONNX model: {_guess(data, label)}")
    return model


def _guess(data: bytes, label: str) -> str:
    if data.startswith(b"PK\x03\x04"):
        for inside, name in _ZIPS:
            if inside in data[:4096] or inside in data[-65536:]:
                return f"it looks like {name}"
    for magic, name in _LOOKS:
        if data.startswith(magic):
            return f"it looks like {name}"
    if b'{"' in data[8:12] and b"data_offsets" in data[:4096]:
        return f"it looks like a .safetensors file, weights alone; load them into the module, and call {FROM_TORCH}"
    if label.endswith("saved_model.pb"):
        return f"it looks like {_SAVED}"
    if data[4:8] == b"TFL3":
        return f"it looks like a TensorFlow Lite file; convert what it was made from, or give the Keras model to {FROM_KERAS}"
    if data[4:8] == b"ORTM":
        return "it looks like an onnxruntime .ort file; give the .onnx it was made from"
    model = label.removesuffix(".data")
    if model != label and os.path.isfile(model):
        return f"it holds the weights of {os.path.basename(model)!r} beside it: give that file"
    if all(9 <= byte < 127 for byte in data[:64]):
        return "it looks like text; the binary form of ONNX is needed"
    return f"{len(data)} bytes that do not parse as protobuf; get the file again, or export it again"
