"""Threads that do parts of a call: started when a call is first large enough, asleep between calls, gone with their pool."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from .. import _pool

__all__ = ["Workers"]


class Workers:
    """`n` threads beside that of the caller. They know the queue and nothing else, so that a pool can go while they sleep."""

    def __init__(self, n: int) -> None:
        self._n, self._started = n, 0
        self._jobs: SimpleQueue[Any] = SimpleQueue()

    def spread(self, share: _pool.Share) -> None:
        """Run all parts of a call: the first one here. Where this is interrupted, the others find that they need not go on."""
        with suppress(RuntimeError):  # there are no more threads to be had: those that there are do it
            while self._started < self._n:
                threading.Thread(target=_work, args=(self._jobs,), name="lstm_infer pool", daemon=True).start()
                self._started += 1
        if not self._started:
            for part in range(share.n_parts):
                share.run(part)
            return
        done: SimpleQueue[None] = SimpleQueue()
        for part in range(1, share.n_parts):
            self._jobs.put((share, part, done))
        try:
            share.run(0)
            for _ in range(1, share.n_parts):
                done.get()
        except BaseException:
            share.stop()
            raise

    def end(self) -> None:
        """No more work."""
        for _ in range(self._started):
            self._jobs.put(None)


def _work(jobs: SimpleQueue[Any]) -> None:
    while (job := jobs.get()) is not None:
        share, part, done = job
        share.run(part)
        done.put(None)
        del share, job  # asleep, it holds no memory of a call
