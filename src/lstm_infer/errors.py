"""The one exception tree. Every message says what, where, expected, got, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = [
    "ArgumentError",
    "BudgetError",
    "ConvertError",
    "DtypeError",
    "FeedError",
    "FormatError",
    "IsaError",
    "LstmInferError",
    "MissingFileError",
    "NotStreamableError",
    "OnnxImportError",
    "OpenSizeError",
    "QueueFullError",
    "ShapeError",
    "StateError",
    "UnsupportedOpError",
]


_Error = TypeVar("_Error", bound="LstmInferError")


class LstmInferError(Exception):
    """Base of all errors of this package. They can be pickled."""

    _reasons: tuple[Callable[[], str], ...] = ()
    _explained = False

    def __str__(self) -> str:  # KeyError would print the repr of its message
        text = str(self.args[0]) if self.args else ""
        why = next(filter(None, (reason() for reason in self._reasons)), "")
        self._reasons = ()
        if why:
            text, self._explained = f"{text}; {why}", True
            self.args = (text, *self.args[1:])
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        str(self)
        return _again, (type(self), self.args), vars(self) or None

    def explain(self, reason: Callable[[], str]) -> None:
        """Say more, worked out when the text is asked for: of several reasons, the first that is not empty."""
        if not self._explained:
            self._reasons = (*self._reasons, reason)

    def kept(self: _Error) -> _Error:
        """The same, to be kept or raised again: without the frames that it came through and all that they hold."""
        again: _Error = _again(type(self), self.args)  # type: ignore[assignment]
        again.__dict__.update(vars(self))
        return again

    def with_text(self: _Error, text: str) -> _Error:
        """The same kind, with what else it holds and another text."""
        again = self.kept()
        again.args, again._reasons, again._explained = (text, *self.args[1:]), (), True
        return again


def _again(kind: type[LstmInferError], args: tuple[object, ...]) -> LstmInferError:
    """An error as it was made, whatever its kind is made from."""
    return kind.__new__(kind, *args)


class OnnxImportError(LstmInferError):
    """The ONNX file is broken, or says something that cannot be run faithfully."""


class MissingFileError(OnnxImportError, FileNotFoundError):
    """There is no such file."""


class UnsupportedOpError(OnnxImportError):
    """An operator, or one of its attributes, that is not built. See docs/ops.md."""


class OpenSizeError(UnsupportedOpError):
    """A shape, an axis or another size is computed from the data, where it must be known when the plan is made."""


class ArgumentError(LstmInferError, ValueError, TypeError):
    """An argument is of another kind than what is expected, or means nothing."""


class FormatError(LstmInferError):
    """A snapshot, or another file of our own, is broken or belongs to something else."""


class ConvertError(LstmInferError):
    """A model cannot be said in the form that `convert` was asked for, or the result is not what its source gives."""


class BudgetError(LstmInferError):
    """What a model asks for before it runs, or to run, is out of proportion to its file, or more than the machine has."""


class ShapeError(LstmInferError, ValueError):
    """A shape differs from what the model or the stream takes."""


class DtypeError(LstmInferError, TypeError):
    """An element type differs from what the model takes. Nothing is converted in silence."""


class FeedError(LstmInferError, KeyError):
    """An input or output name is unknown, missing or given twice."""


class QueueFullError(LstmInferError):
    """More frames are submitted to a pool than may wait in it."""


class StateError(LstmInferError):
    """States cannot be paired or set, or have no batch axis; a stream was flushed, or entered by two threads; a pool is closed."""


class NotStreamableError(LstmInferError):
    """The model needs its whole input at once. `Model.run` still works.

    Attributes
    ----------
    node : str
        Name of the node that stands in the way ("" where there is none).
    op : str
        Its operator.
    reason : str
        Why it needs the whole input.
    """

    def __init__(self, message: str, *, node: str = "", op: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.op = op
        self.reason = reason


class IsaError(LstmInferError):
    """The instruction set is unknown, or this CPU cannot run it."""
