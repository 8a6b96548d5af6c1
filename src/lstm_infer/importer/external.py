"""Weights in files beside the model: found inside its folder only, checked against the file's size, then read."""

from __future__ import annotations

import os
import stat

import numpy as np
import onnx
from numpy.typing import NDArray

from lstm_infer.errors import MissingFileError, OnnxImportError
from lstm_infer.importer.source import Source, text

__all__ = ["ExternalData"]


class ExternalData:
    """Reads ranges of the files in one folder. No range is read twice; overlapping ones are bounded in sum."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._paths: dict[str, tuple[str, int]] = {}
        self._ranges: dict[tuple[str, int, int], NDArray[np.uint8]] = {}
        self._used: dict[str, int] = {}

    def read(self, tensor: onnx.TensorProto, n_bytes: int, where: str) -> NDArray[np.uint8]:
        """The `n_bytes` of `tensor`, read-only."""
        keys = {text(entry.key, where): text(entry.value, where) for entry in tensor.external_data}
        location = keys.get("location", "")
        if not location:
            raise OnnxImportError(f"{where}: its data is external, but no location is given; the file is damaged")
        path, size = self._find(location, where)
        offset = _number(keys.get("offset", "0"), "offset", where)
        length = _number(keys["length"], "length", where) if keys.get("length") else n_bytes
        if length != n_bytes:
            raise OnnxImportError(f"{where}: its dims need {n_bytes} bytes, but its external length is {length}")
        if offset > size or length > size - offset:
            raise OnnxImportError(
                f"{where}: bytes {offset} to {offset + length} of {location!r} are needed, but that file has {size}; "
                "is it cut short, or another model's?"
            )
        return self._range(path, size, offset, length, where)

    def _range(self, path: str, size: int, offset: int, length: int, where: str) -> NDArray[np.uint8]:
        key = (path, offset, length)
        if key not in self._ranges:
            used = self._used[path] = self._used.get(path, 0) + length
            if used > 2 * size:
                raise OnnxImportError(f"{where}: the tensors in {path} overlap each other; the file is damaged")
            data = np.empty(length, np.uint8)
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
            with open(fd, "rb", buffering=0) as file:
                file.seek(offset)
                view, done = memoryview(data.data), 0
                while done < length:
                    n_read = file.readinto(view[done:])
                    if not n_read:
                        raise OnnxImportError(f"{where}: {path} became shorter while it was read")
                    done += n_read
            data.flags.writeable = False
            self._ranges[key] = data
        return self._ranges[key]

    def _find(self, location: str, where: str) -> tuple[str, int]:
        if location in self._paths:
            return self._paths[location]
        folder = self._source.folder
        if folder is None:
            raise OnnxImportError(
                f"{where}: its data is in the file {location!r}, which is looked for beside the model; "
                "give the path of the model instead of its bytes"
            )
        parts = location.replace("\\", "/").split("/")
        if os.path.isabs(location) or location.startswith(("/", "\\")) or ":" in parts[0] or ".." in parts:
            raise OnnxImportError(f"{where}: its data is in {location!r}, which leaves the model's folder: refused")
        if "\0" in location:
            raise OnnxImportError(f"{where}: the location of its data holds a zero byte; the file is damaged")
        root = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(root, *parts))
        if os.path.commonpath([root, path]) != root:
            raise OnnxImportError(
                f"{where}: its data is in {location!r}, a link that leaves the model's folder: refused; copy the file there"
            )
        try:
            info = os.stat(path)
        except OSError as error:
            kind = MissingFileError if isinstance(error, FileNotFoundError) else OnnxImportError
            raise kind(
                f"{where}: its data is in {location!r}, which cannot be opened beside the model ({error.strerror}); "
                "keep that file in the model's folder"
            ) from error
        if not stat.S_ISREG(info.st_mode):
            raise OnnxImportError(f"{where}: its data is in {location!r}, which is not a regular file: refused")
        self._paths[location] = path, info.st_size
        return path, info.st_size


def _number(text: str, what: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise OnnxImportError(f"{where}: external {what} {text[:40]!r} is not a number of bytes; the file is damaged")
    return int(text)
