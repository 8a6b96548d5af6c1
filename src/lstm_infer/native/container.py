"""The frame of a native file: header, head and blocks (docs/format.md). Nothing that a file says is used before it was checked
against what there is."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from .. import _core
from ..errors import FormatError, LstmInferError
from .plans import ALIGN, MAGIC, ORDER, PORT_DTYPES, VERSION, map_native
from .values import Value, read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..graph.ir import Array

    Bytes = NDArray[np.uint8]
    Span = tuple[int, int, int]
    """Where a part begins, its length, its checksum."""
    Block = tuple[np.dtype[Any], tuple[int, ...], int, int, int]
    """Element type, shape, and the span."""

__all__ = ["ALIGN", "DTYPES", "HEADER", "MAGIC", "ORDER", "VERSION", "Container", "is_native", "native"]

HEADER = struct.Struct("<8s I HH QQQ I III I I")
"""Magic, byte order, version (major, minor), length of the file, where the head begins, its length, its checksum, the plans
(where they begin, by 64 bytes; their length, their checksum), 0, and the checksum of the header up to here."""
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in PORT_DTYPES}
MOST_AXES = 64
CHECKED_BYTES = 4096
"""Blocks up to this size are held against their checksums when a file is opened; larger ones by `check` alone."""

_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)


def is_native(start: bytes) -> bool:
    """Does a file begin so."""
    return start[: len(MAGIC)] == MAGIC


class Container:
    """A file whose frame was checked."""

    def __init__(self, memory: Bytes, label: str) -> None:
        self.label = label
        if memory.ctypes.data % ALIGN or memory.flags.writeable:  # lies anywhere, or may be written to
            aligned = _core.aligned_empty(memory.size)
            aligned[:] = memory
            aligned.flags.writeable = False
            memory = aligned
        self.memory = memory
        self._parts = self._header()
        self.head = self._document(self._parts["the head"], "the head")
        self._documents = {name: self._span(span) for name, span in self.head["documents"].named().items()}
        self._arrays: dict[int, Array] = {}

    def wrong(self, what: str) -> FormatError:
        """Something in the file is not as it has to be."""
        return FormatError(f"{self.label}: {what}; the file is damaged")

    @contextmanager
    def judged(self) -> Iterator[None]:
        """What Python says of something odd in the file becomes an error of ours."""
        try:
            yield
        except LstmInferError:
            raise
        except RecursionError as error:
            raise self.wrong("it is nested too deeply") from error
        except _ODD as error:
            raise self.wrong(f"{type(error).__name__}: {error}") from error

    def array(self, number: int) -> Array:
        """The array of a block: a view of the file, always the same one."""
        found = self._arrays.get(number)
        if found is None:
            dtype, shape, start, length, checksum = self.blocks[number]
            part = self.memory[start : start + length]
            if length <= CHECKED_BYTES:
                self._check(part, checksum, f"block {number}")
            if dtype.kind == "b" and (part > 1).any():
                raise self.wrong(f"block {number} holds booleans other than 0 and 1")
            found = self._arrays[number] = part.view(dtype).reshape(shape)
        return found

    def document(self, name: str) -> Value:
        """One of the documents."""
        if name not in self._documents:
            raise self.wrong(f"there is no document {name!r}")
        return self._document(self._documents[name], f"the document {name!r}")

    @cached_property
    def model(self) -> Value:
        """The document that describes blocks, constants and options."""
        return self.document("model")

    @cached_property
    def blocks(self) -> list[Block]:
        """Where the arrays are."""
        found = [self._block(block) for block in self.model["blocks"].items()]
        self._apart(found)
        return found

    def check(self) -> int:
        """Hold everything against its checksum; how many parts there are."""
        parts = [*self._parts.items(), *self._documents.items()]
        for what, (start, length, checksum) in parts:
            self._check(self.memory[start : start + length], checksum, what)
        for number, (_, _, start, length, checksum) in enumerate(self.blocks):
            self._check(self.memory[start : start + length], checksum, f"block {number}")
        return len(parts) + len(self.blocks)

    def number(self, value: Value) -> int:
        """The number of a block."""
        return value.number(0, len(self.blocks) - 1)

    def _header(self) -> dict[str, Span]:
        """The head, and the plans where there are some."""
        memory = self.memory
        if memory.size < HEADER.size or not is_native(memory[: len(MAGIC)].tobytes()):
            raise self.wrong(f"{memory.size} bytes that are no native file")
        fields = HEADER.unpack(memory[: HEADER.size].tobytes())
        _, order, major, minor, size, start, length, checksum, *plans, zero, own = fields
        if order != ORDER or sys.byteorder != "little":
            raise FormatError(f"{self.label}: is in another byte order than this machine reads; convert the model here")
        if major != VERSION[0]:
            raise FormatError(
                f"{self.label}: is of format version {major}.{minor}, this release reads {VERSION[0]}; "
                "use a newer lstm_infer, or convert the model again"
            )
        if crc32(memory[: HEADER.size - 4].data) != own or zero:
            raise self.wrong("the header does not fit its checksum")
        if size != memory.size:
            raise self.wrong(f"{memory.size} bytes where there should be {size}")
        parts = {"the head": (start, length, checksum)}
        if any(plans):
            parts["the plans"] = plans[0] * ALIGN, plans[1], plans[2]
        for what, (at, n_bytes, _) in parts.items():
            if not self._holds(at, n_bytes):
                raise self.wrong(f"where {what} should be is no place in the file")
        return parts

    def _holds(self, at: int, n_bytes: int) -> bool:
        """May a part lie there."""
        return at >= HEADER.size and at % ALIGN == 0 and at + n_bytes <= self.memory.size

    def _span(self, value: Value) -> Span:
        start, length, checksum = value.items(3)
        at, n_bytes = start.number(0), length.number(0)
        if not self._holds(at, n_bytes):
            raise value.wrong(f"a stretch of the file that begins at a multiple of {ALIGN}")
        return at, n_bytes, checksum.number(0, 2**32 - 1)

    def _block(self, block: Value) -> Block:
        dtype, shape, *span = block.items(5)
        kind = DTYPES.get(dtype.text())
        if kind is None:
            raise dtype.wrong(f"one of {', '.join(DTYPES)}")
        dims = tuple(n.number(0, 2**48) for n in shape.items(most=MOST_AXES))
        start, length, checksum = self._span(Value([n.raw for n in span], block.where, self.wrong))
        if length != prod(dims) * kind.itemsize:
            raise block.wrong("a block as long as its shape")
        return kind, dims, start, length, checksum

    def _apart(self, blocks: list[Block]) -> None:
        """No two parts of a file overlap."""
        end = HEADER.size
        spans = [*self._parts.values(), *self._documents.values(), *(block[2:] for block in blocks)]
        for at, n, _ in sorted(spans):
            if at < end and n:
                raise self.wrong("two parts overlap")
            end = max(end, at + n)

    def _document(self, span: Span, what: str) -> Value:
        start, length, checksum = span
        part = self.memory[start : start + length]
        self._check(part, checksum, what)
        try:
            return Value(read_json(part.tobytes().decode()), what, self.wrong)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"{what} is no JSON ({type(error).__name__})") from error

    def _check(self, part: Bytes, checksum: int, what: str) -> None:
        if crc32(part.data) != checksum:
            raise self.wrong(f"{what} does not fit its checksum")


def native(source: object) -> Container | None:
    """The frame of a native file, checked; None: something else.

    Raises
    ------
    FormatError
        It is one, but damaged, of a newer version, or in another byte order.
    """
    memory: Bytes | None
    if isinstance(source, (str, os.PathLike)):
        label = os.path.expanduser(os.fsdecode(source))
        try:
            memory = map_native(label)
        except (OSError, ValueError) as error:
            raise FormatError(f"{label}: cannot be read: {error}") from error
        if memory is None and label.lower().endswith(".lsi") and os.path.isfile(label):
            wrong = "does not begin as a native file; is it cut short" if os.path.getsize(label) else "is empty"
            raise FormatError(f"{label}: {wrong}; convert the model again")
    elif isinstance(source, (bytes, bytearray, memoryview)):
        label = f"the model ({len(source)} bytes)"
        if not is_native(bytes(source[: len(MAGIC)])):
            return None
        dense = not isinstance(source, memoryview) or source.c_contiguous
        memory = np.frombuffer(source if dense else bytes(source), np.uint8)
    else:
        return None
    return None if memory is None else Container(memory, label)
