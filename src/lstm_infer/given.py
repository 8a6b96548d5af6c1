"""What callers give, looked at before anything is made of it: whatever is wrong with an argument is an error of ours, with the
name of the argument."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ArgumentError, BudgetError, DtypeError, OnnxImportError
from .imported import is_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array", "contents", "flag", "items", "named", "names", "number", "refuse_masked", "seconds", "shown"]

MOST_SHOWN = 80
"""Characters of a value in a message."""


def shown(value: Any) -> str:
    """A value as a message shows it, in one line: an array by its form."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"an array of {value.dtype} {list(value.shape)}"
    try:
        if not isinstance(value, type) and hasattr(value, "shape") and hasattr(value, "dtype"):
            return f"a {type(value).__name__} of {value.dtype} {list(value.shape)}"
        text = " ".join(repr(value).split())
    except Exception:  # whatever a stranger's repr does
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def named(what: str, value: Any) -> dict[str, Any]:
    """A dict by name."""
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{what}: a dict by name expected, got {shown(value)}; write {what}={{'a name': ...}}")
    for name in value:
        if not isinstance(name, str):
            raise ArgumentError(f"{what}: names expected, got {shown(name)} as one")
    return dict(value)


def names(what: str, value: Any) -> tuple[str, ...]:
    """A sequence of names."""
    if isinstance(value, str):
        raise ArgumentError(f"{what}: a sequence of names expected, got the text {value!r}; write [{value!r}]")
    try:
        found = tuple(value)
    except Exception as error:  # a stranger's __iter__ may raise anything
        raise ArgumentError(f"{what}: a sequence of names expected, got {shown(value)}") from error
    for name in found:
        if not isinstance(name, str):
            raise ArgumentError(f"{what}: names expected, got {shown(name)} as one")
    return found


def number(what: str, value: Any, low: int | None = None) -> int:
    """A whole number, from `low` on."""
    if (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, (int, np.integer))
        or (low is not None and value < low)
    ):
        raise ArgumentError(
            f"{what}: a whole number{'' if low is None else f' from {low} on'} expected, got {shown(value)}"
        )
    return int(value)


def seconds(what: str, value: Any) -> float:
    """A time from 0 on."""
    if (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, (int, float, np.integer, np.floating))
        or not 0 <= value < float("inf")
    ):
        raise ArgumentError(f"{what}: seconds from 0 on expected, got {shown(value)}")
    return float(value)


def flag(what: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{what}: True or False expected, got {shown(value)}")
    return bool(value)


def once(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """What a mapping holds now, whatever another thread does to it meanwhile: of a dict a copy in one go."""
    return dict(values)


def refuse_masked(what: str, value: Any, remedy: str = "say what stands there with filled()") -> None:
    """What is masked in an array would be computed with like the rest."""
    if is_of("numpy.ma", "MaskedArray", value):
        raise DtypeError(f"{what}: a masked array, whose mask would be lost; {remedy}")


def array(what: str, value: Any) -> NDArray[Any]:
    """Numbers or booleans as an array; a copy only where it is none yet."""
    refuse_masked(what, value)
    try:
        found = np.asarray(value)
    except MemoryError as error:
        raise BudgetError(f"{what}: takes more memory than there is ({error})") from error
    except Exception as error:  # a stranger's __array__ may raise anything
        raise DtypeError(f"{what}: cannot be made an array of numbers: {type(error).__name__}: {error}") from error
    if found.dtype.kind not in "biufc":
        raise DtypeError(f"{what}: numbers or booleans expected, got {shown(value)}")
    return found


def contents(source: Any) -> Any:
    """What a file object holds; anything else as it is."""
    if not callable(getattr(source, "read", None)):
        return source
    try:
        data = source.read()
    except Exception as error:  # a stranger's read may raise anything
        raise OnnxImportError(f"the file object cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(data, (bytes, bytearray)):
        raise OnnxImportError("the file object gives text; open the file with 'rb'")
    if not data:
        raise OnnxImportError("the file object has nothing left to read; seek(0) goes back to its beginning")
    return data


def items(what: str, value: Any) -> tuple[Any, ...]:
    """A sequence of things, in an order."""
    if type(value) is list or type(value) is tuple:
        return tuple(value)
    if isinstance(value, (str, bytes, bytearray, Mapping, Set)):
        hint = "; write [x] where it is one" if isinstance(value, Mapping) else ""
        raise ArgumentError(f"{what}: a sequence expected, got {shown(value)}{hint}")
    try:
        return tuple(value)
    except Exception as error:  # a stranger's __iter__ may raise anything
        one = f"; write [{value}]" if isinstance(value, (int, np.integer)) else ""
        raise ArgumentError(f"{what}: a sequence expected, got {shown(value)}{one}") from error
