"""Types of what calls take and give, for annotations of your own.

`Any` stands for the element type alone, which is the file's and not known before it is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar

from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import os

    import onnx

    if sys.version_info >= (3, 12):
        from collections.abc import Buffer
    else:
        from typing_extensions import Buffer
else:
    Buffer = object

__all__ = ["Array", "ArrayIn", "BaseOptions", "CheckOptions", "CompareOptions", "ConvertOptions", "ExportOptions", "Feeds",
           "Format", "Isa", "LoadOptions", "Out", "Precision", "Source", "SupportsDLPack", "SupportsRead"]  # fmt: skip

Isa = Literal["scalar", "avx2", "avx512", "avx512vnni", "neon", "neondot"]
"""Instruction sets, as `load(isa=)` takes them; `show_isa()` says which can run here."""
Precision = Literal["f32", "f16", "int8"]
"""How weights are held: `load(precision=)`."""
Format = Literal["native", "onnx", "c"]
"""What `convert(to=)` writes."""


class SupportsDLPack(Protocol):
    """A tensor of somebody else's: of torch, of JAX, of TensorFlow."""

    def __dlpack__(self) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class SupportsRead(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int = ..., /) -> bytes: ...


Array = NDArray[Any]
"""What calls return."""
ArrayIn = NDArray[Any] | Buffer | SupportsDLPack
"""What calls take, of the dtype that the model declares: nothing is converted."""
Feeds = Mapping[str, ArrayIn]
"""Inputs by name."""
Out = TypeVar("Out", bound=ArrayIn | Mapping[str, ArrayIn])
"""What `out=` is given, which is what the call then returns."""
if TYPE_CHECKING:
    Source: TypeAlias = str | os.PathLike[str] | bytes | SupportsRead | onnx.ModelProto
else:
    Source = object  # onnx is not imported for its name
"""What `load` reads."""


class BaseOptions(TypedDict, total=False):
    """The options of `load` that every call hands on to it."""

    isa: Isa | None
    inputs: Mapping[str, Sequence[int | None]] | None
    constants: Mapping[str, ArrayLike] | None
    time_axis: Mapping[str, int] | None


class CompareOptions(BaseOptions, total=False):
    """Those of `compare_precision`."""

    threads: int
    states: Mapping[str, str] | None
    seed: int | None


class ExportOptions(BaseOptions, total=False):
    """Those of `from_torch` and `from_keras`."""

    precision: Precision | Mapping[str, Precision]
    threads: int
    seed: int | None


class CheckOptions(BaseOptions, total=False):
    """Those of the commands that check and time a model."""

    precision: Precision | Mapping[str, Precision]
    states: Mapping[str, str] | None


class ConvertOptions(CheckOptions, total=False):
    """Those of `convert`."""

    threads: int


class LoadOptions(ConvertOptions, total=False):
    """All of them, for a call of your own that hands them on: `**options: Unpack[LoadOptions]`."""

    seed: int | None
