"""frozen: `dataclass(frozen=True)` whose methods are written when the first object is made.

A dataclass is half a millisecond of writing and compiling methods, and the package has more than a hundred of them, of
which a model uses some: this is a third of the time that `lstm_infer.load` takes when it is first named.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

__all__ = ["finish", "frozen"]

_Class = TypeVar("_Class", bound=type)
_LOCK = threading.RLock()
_MADE_FIRST = ("__init__", "__setstate__")
"""What an object goes through before anybody has it: when it is made, and when it is unpickled or copied."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """The class as `dataclass(frozen=True)` makes it, made so by its first object.

    `dataclasses.fields` and the like know the class from then on; ask them about an object, or `finish` the class first.
    """

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        finish(cls)
        cls.__init__(self, *args, **kwargs)  # type: ignore[misc]

    def setstate(self: Any, state: dict[str, Any]) -> None:
        finish(cls)
        self.__dict__.update(state)

    for name, stub in zip(_MADE_FIRST, (init, setstate), strict=True):
        stub._of = cls  # type: ignore[attr-defined]
        setattr(cls, name, stub)
    return cls


def finish(cls: _Class) -> _Class:
    """Make a dataclass of a class and of those that it stands on, once."""
    with _LOCK:
        if getattr(cls.__dict__.get("__init__"), "_of", None) is cls:
            for base in reversed(cls.__mro__[1:]):
                finish(base)
            del cls.__init__
            dataclass(frozen=True)(cls)
    return cls
