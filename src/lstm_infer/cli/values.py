"""What stands behind an option of the command line: texts to values, each refused in words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = [
    "above_zero",
    "axis",
    "constant",
    "kind",
    "named_file",
    "number",
    "pair",
    "pair_or_file",
    "positive",
    "shape",
]


def pair(text: str) -> tuple[str, str]:
    name, mark, value = text.rpartition("=")  # names hold odd characters; values here do not
    if not mark or not name or not value:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def pair_or_file(text: str) -> tuple[str, str] | Path:
    return Path(text) if "=" not in text and text.endswith(".npz") else pair(text)


def number(text: str) -> int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return float(text)


def constant(text: str) -> tuple[str, Any]:
    name, value = pair(text)
    try:
        numbers = [number(part) for part in value.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER or NAME=NUMBER,NUMBER, got {text!r}") from None
    return name, numbers if "," in value else numbers[0]


def axis(text: str) -> tuple[str, int]:
    name, value = pair(text)
    try:
        return name, int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INPUT=AXIS, got {text!r}") from None


def kind(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    return name or "*", kind


def named_file(text: str) -> tuple[str, Path]:
    name, _, file = text.rpartition("=")
    return name, Path(file)


def above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    name, value = pair(text)
    try:
        return name, tuple(None if size == "?" else int(size) for size in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INPUT=SIZE,SIZE, got {text!r}") from None


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return value
