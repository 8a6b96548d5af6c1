"""What the package says of its work through `logging`: loggers lstm_infer.load, lstm_infer.recognise, lstm_infer.stream and
lstm_infer.plan. Nothing is warned of here; what a caller has to know is an error or a warning.

`logging` takes milliseconds to import. Where nobody imported it nobody listens, and nothing is said.
"""

from __future__ import annotations

import sys

__all__ = ["debug", "info"]

DEBUG, INFO = 10, 20
"""Of `logging`."""


def info(topic: str, text: str, *values: object) -> None:
    """Say once what was found: `text` with % and values."""
    _say(INFO, topic, text, values)


def debug(topic: str, text: str, *values: object) -> None:
    """Say what is being done."""
    _say(DEBUG, topic, text, values)


def _say(level: int, topic: str, text: str, values: tuple[object, ...]) -> None:
    logger = getattr(sys.modules.get("logging"), "getLogger", None)  # another thread may be importing it
    if logger is not None:
        logger(f"lstm_infer.{topic}").log(level, text, *values)
