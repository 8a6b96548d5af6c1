"""How far long work is: a bar where rich is installed and somebody looks, else a line that is written over."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["told"]

Item = TypeVar("Item")
SAY_EVERY_S = 0.2


def told(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items; says on the standard error how many of `total` have come."""
    bar = _bar(total, what) if sys.stderr.isatty() else None
    if bar is None:
        yield from _line(items, total, what)
        return
    with bar:
        task = bar.add_task(what, total=total)
        for item in items:
            bar.advance(task)
            yield item


def _bar(total: int, what: str):  # type: ignore[no-untyped-def]  # a class of rich's, where that is there
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def _line(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    began = said = time.monotonic()
    for done, item in enumerate(items, 1):
        now = time.monotonic()
        if now - said > SAY_EVERY_S or done == total:
            said = now
            print(f"\r{done} of {total} {what}, {now - began:.1f} s", end="", file=sys.stderr, flush=True)
        yield item
    print(file=sys.stderr)
