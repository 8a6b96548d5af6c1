"""Work in several threads at once: all begin together, and what one of them raises is raised."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["together"]


def together(*works: Callable[[], Any], turns: float | None = None) -> None:
    """Run each in a thread of its own; `turns`: the seconds after which a thread hands over, where that is what is looked at."""
    raised: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def guarded(work: Callable[[], Any]) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    before = sys.getswitchinterval()
    sys.setswitchinterval(before if turns is None else turns)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    if raised:
        raise raised[0]
