"""What the command says: names of a file made harmless; of what went wrong one line, remedies as options."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["no_command", "said", "say", "show_warning"]

OPTIONS = {
    "constants=": "--constants NAME=VALUE", "inputs=": "--shape INPUT=SIZES", "states=": "--states INPUT=OUTPUT",
    "time_axis=": "--time-axis INPUT=AXIS",
}  # fmt: skip
"""What messages call an argument of `load`, and what it is on the command line."""


def said(error: BaseException, *, options: bool) -> str:
    """The message; with `options`, of a command that has those of `load`, also how the remedies in it are written there."""
    text = _of_file(error) if isinstance(error, OSError) else str(error)
    return _line(text) + (_options(text) if options else "")


def no_command(word: str, commands: Sequence[str]) -> str:
    """What to write for a file, or a word like a command, where a command stands; "" for what is one, or like none."""
    if word.startswith("-") or word in commands:
        return ""
    if word.lower().endswith((".onnx", ".lsi")):
        return f"a command expected, got a file; write lstm-infer inspect {word}"
    from difflib import get_close_matches

    near = get_close_matches(word, commands, 1)
    return f"{word!r} is no command; is it {near[0]!r}?" if near else ""


def say(text: str = "") -> None:
    """Print a text."""
    from ..records import printable_lines  # with NumPy, which help does not wait for

    print(printable_lines(text))


def show_warning(message: Warning | str, *where: object, **more: object) -> None:
    """For `warnings.showwarning`."""
    print(f"lstm-infer: note: {_line(str(message))}", file=sys.stderr)


def _line(text: str) -> str:
    from ..records import printable

    return printable(" ".join(text.split()))


def _of_file(error: OSError) -> str:
    """What the system says of a file, the file first."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def _options(text: str) -> str:
    loads = text.replace("stream(inputs=", "stream(")  # that one is another
    found = [option for word, option in OPTIONS.items() if word in loads and option not in text]
    return f"; on the command line: {', '.join(found)}" if found else ""
