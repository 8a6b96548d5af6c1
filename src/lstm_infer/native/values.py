"""Values of a JSON document, each looked at as what it is used as.

The text is read by the scanner that the standard library has in C: the rest of its package takes a millisecond to import, a
fifth of what a file with plans takes to load.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import inf, nan
from typing import Any

from ..errors import FormatError

__all__ = ["Value", "read_json"]

_ODD = {"nan": nan, "inf": inf, "-inf": -inf}


class Value:
    """A part of a document. where: its place, for messages."""

    __slots__ = ("_error", "raw", "where")

    def __init__(self, raw: Any, where: str, error: Callable[[str], FormatError]) -> None:
        self.raw, self.where, self._error = raw, where, error

    def wrong(self, expected: str) -> FormatError:
        """It is something else."""
        shown = repr(self.raw)
        return self._error(f"{self.where}: {expected} expected, got {shown if len(shown) < 80 else shown[:80] + '...'}")

    def number(self, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """A whole number."""
        if type(self.raw) is not int or not low <= self.raw <= high:
            raise self.wrong(f"a whole number from {low} to {high}")
        return self.raw

    def real(self) -> float:
        """A number, or "nan", "inf", "-inf"."""
        if type(self.raw) is str and self.raw in _ODD:
            return _ODD[self.raw]
        if type(self.raw) is not float:
            raise self.wrong("a number with a fraction")
        return self.raw

    def text(self) -> str:
        """Text."""
        if type(self.raw) is not str or not _is_unicode(self.raw):
            raise self.wrong("a text")
        return self.raw

    def truth(self) -> bool:
        """True or false."""
        if type(self.raw) is not bool:
            raise self.wrong("true or false")
        return self.raw

    def optional(self) -> Value | None:
        """None where it is null."""
        return None if self.raw is None else self

    def items(self, exactly: int | None = None, *, most: int | None = None) -> list[Value]:
        """The items of a list."""
        if type(self.raw) is not list or (exactly is not None and len(self.raw) != exactly):
            raise self.wrong("a list" if exactly is None else f"a list of {exactly}")
        if most is not None and len(self.raw) > most:
            raise self.wrong(f"a list of at most {most}")
        return [Value(item, f"{self.where}[{i}]", self._error) for i, item in enumerate(self.raw)]

    def texts(self) -> list[str]:
        """A list of texts."""
        return [item.text() for item in self.items()]

    def named(self) -> dict[str, Value]:
        """The items of an object."""
        if type(self.raw) is not dict or not all(map(_is_unicode, self.raw)):
            raise self.wrong("an object with texts as names")
        return {name: Value(item, f"{self.where}.{name}", self._error) for name, item in self.raw.items()}

    def __getitem__(self, name: str) -> Value:
        if type(self.raw) is not dict or name not in self.raw:
            raise self.wrong(f"an object with {name!r}")
        return Value(self.raw[name], f"{self.where}.{name}", self._error)


def _is_unicode(text: str) -> bool:
    """Is a text whole: JSON can name half of a character."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Context:
    """What the scanner asks for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> Any:
        """NaN and the like, which are no JSON."""
        raise ValueError(f"{name} is no JSON")


def read_json(text: str) -> Any:
    """The value that a text is, all of it.

    Raises
    ------
    ValueError
        It is no JSON.
    """
    try:
        scan = import_module("_json").make_scanner(_Context())
    except (ImportError, AttributeError):  # another Python
        return import_module("json").loads(text)
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("no value") from None
    if end != len(text):
        raise ValueError("more than one value")
    return value
