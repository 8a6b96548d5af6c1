"""Later: a module that is imported when something of it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Later"]


class Later:
    """Stands for a module of this package; what was asked of it once is at hand."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(import_module(f"{__package__}.{self.__name}"), name)
        return value
