"""Which instruction set runs: the best this CPU offers, or the one that was asked for."""

from __future__ import annotations

import os

from . import _core
from .errors import IsaError

__all__ = ["choose_isa", "show_isa"]

VARIABLE = _core.ISA_VARIABLE


def choose_isa(isa: str | None = None) -> str:
    """The name to use: `isa`, else the environment variable LSTM_INFER_ISA, else the best one.

    Raises
    ------
    IsaError
        The name is unknown, or this CPU (or its operating system) cannot run it.
    """
    found = dict(_core.list_isas())
    source = "isa=" if isa is not None else f"the environment variable {VARIABLE}"
    asked = isa if isa is not None else os.environ.get(VARIABLE) or None
    if asked is None:
        return _core.best_isa()
    if not isinstance(asked, str) or asked not in found:
        raise IsaError(
            f"{source} asks for {asked!r}, which is no instruction set of a CPU that this build has: {', '.join(found)}"
        )
    if not found[asked]:
        runnable = ", ".join(name for name, ok in found.items() if ok)
        raise IsaError(
            f"{source} asks for {asked!r}, which this CPU or its operating system cannot run; it can run {runnable}"
        )
    return asked


def show_isa() -> str:
    """What was found, what is picked, and why; print it."""
    lines = [
        f"{name:12s} {'can run here' if ok else 'this CPU or its OS cannot run it'}" for name, ok in _core.list_isas()
    ]
    why = f"{VARIABLE} is set" if os.environ.get(VARIABLE) else "the best that can run"
    return "\n".join([*lines, f"picked: {choose_isa()} ({why})"])
