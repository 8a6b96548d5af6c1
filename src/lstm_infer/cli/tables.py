"""Tables and progress for the command line: by rich where it is installed and a terminal looks on, else plain text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TextIO

from ..drive.tables import is_number, plain_table

__all__ = ["loading", "print_table", "progress"]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, file: TextIO | None = None) -> None:
    """Print a table."""
    from ..records import printable  # with NumPy, which help does not wait for

    out = sys.stdout if file is None else file
    rows = [[printable(cell) for cell in row] for row in rows]
    plain = plain_table(head, rows)
    wide = max(map(len, plain.splitlines()), default=0) > get_terminal_size().columns
    if wide or not (out.isatty() and find_spec("rich")):  # folded cells are harder to read than long lines
        print(plain, file=out)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for c, name in enumerate(head):
        numbers = c > 0 and all(is_number(row[c]) for row in rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(file=out).print(table)


_STYLES = {"ok": "green", "WRONG": "bold red", "missed": "yellow", "reached": "green"}


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; gives a function that takes how much is done."""
    if not sys.stderr.isatty() or total <= 0:
        yield lambda done: None
    elif find_spec("rich"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:

        def show(done: int) -> None:
            print(f"\r{title} {done}/{total}", end="", file=sys.stderr, flush=True)

        yield show
        print(file=sys.stderr)


PATIENCE_S = 0.7
"""A load that takes longer says where it is."""


@contextmanager
def loading(shown: bool = True) -> Iterator[None]:
    """While models are loaded inside: on a terminal, what a load that takes long is doing, and for how long."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    import logging
    import threading
    import time

    now: list[tuple[str, float]] = []
    printed: list[str] = []
    done = threading.Event()

    class Stage(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            began = now[0][1] if now else time.monotonic()
            now[:] = [] if text.startswith("loaded") else [(text, began)]
            if not now and printed:
                printed.clear()
                print("\r\033[K", end="", file=sys.stderr, flush=True)

    def show() -> None:
        while not done.wait(0.1):
            for text, began in now:
                if time.monotonic() - began > PATIENCE_S:
                    printed.append(text)
                    line = f"loading: {text}, {time.monotonic() - began:.1f} s"
                    print(f"\r\033[K{line}\r", end="", file=sys.stderr, flush=True)

    logger, handler = logging.getLogger("lstm_infer.load"), Stage()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    teller = threading.Thread(target=show, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
