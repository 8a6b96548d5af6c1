"""Endurance: much of everything in one process, memory looked at before and after, results compared with those of a fresh start.

    python tools/endure.py               short: a minute or two
    python tools/endure.py --long        10^7 steps, 10^5 loads and streams, a day of audio: about an hour
    python tools/endure.py --only steps  one row; --json for machines

Each row does a part of its work first, so that caches and arenas are there, then the rest. Memory is what the process holds
(RSS) after a collection. Exit status 1: memory grew by more than `ALLOWED`, or a result is not the one of a fresh stream.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import lstm_infer
from lstm_infer.cli.demo.show import MODEL

ALLOWED = 2 << 20
"""Bytes that a row may end above where it was after its first part."""
FIRST = 0.1
"""The first part of the work."""


@dataclass
class Row:
    """What a row did: how often, in how long, what memory did meanwhile, and what is wrong."""

    name: str
    times: int
    seconds: float
    before: int
    after: int
    wrong: str

    @property
    def ok(self) -> bool:
        """Nothing is wrong, and memory is flat."""
        return not self.wrong and self.after - self.before <= ALLOWED


Part = Callable[[int], str]
"""Does so much, and says what is wrong."""


def resident() -> int:
    """Bytes that the process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sound(n: int, seed: int = 0) -> np.ndarray:
    """n frames of the demo's input."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 1, 1)).astype(np.float32)


def steps() -> Part:
    """Single steps of one stream, their states beside those of a stream that was given the same in chunks."""
    model = lstm_infer.load(MODEL)
    one, other, x = model.stream(), model.stream(), sound(4096)
    frames = list(x)

    def part(n: int) -> str:
        for _ in range(max(1, n // len(frames))):
            for frame in frames:
                one.step(frame)
            other.run(x)
        return "" if one.snapshot() == other.snapshot() else "the state differs from that of chunks"

    return part


def loads() -> Part:
    """Loads of a small ONNX file, each with a first step."""
    want = lstm_infer.load(MODEL).stream().step(sound(1)[0])

    def part(n: int) -> str:
        for _ in range(n):
            got = lstm_infer.load(MODEL).stream().step(sound(1)[0])
        return "" if np.array_equal(got, want) else "the first step differs"

    return part


def streams() -> Part:
    """Streams opened, stepped, forked, saved, restored and dropped, a thousand alive at a time."""
    model, x = lstm_infer.load(MODEL), sound(4)
    want = model.stream().run(x)

    def part(n: int) -> str:
        for _ in range(max(1, n // 1000)):
            alive = [model.stream() for _ in range(1000)]
            for stream in alive:
                stream.run(x[:2])
            twins = [stream.fork() for stream in alive]
            for stream, twin in zip(alive, twins, strict=True):
                stream.restore(twin.snapshot())
            for stream in alive:
                got = stream.run(x[2:])
        return "" if np.array_equal(got, want[2:]) else "a restored stream goes on otherwise"

    return part


def pickles() -> Part:
    """Streams and models through pickle."""
    model, x = lstm_infer.load(MODEL), sound(4)
    want = model.stream().run(x)

    def part(n: int) -> str:
        for _ in range(n):
            stream = model.stream()
            stream.run(x[:2])
            got = pickle.loads(pickle.dumps(stream)).run(x[2:])
        return "" if np.array_equal(got, want[2:]) else "an unpickled stream goes on otherwise"

    return part


def _in_a_child(path: str, send: object) -> None:
    send.send_bytes(lstm_infer.load(path).stream().run(sound(8)).tobytes())  # type: ignore[attr-defined]


def _processes(method: str) -> Part:
    context, want = multiprocessing.get_context(method), lstm_infer.load(MODEL).stream().run(sound(8)).tobytes()

    def part(n: int) -> str:
        for _ in range(n):
            receive, send = context.Pipe(False)
            child = context.Process(target=_in_a_child, args=(str(MODEL), send))
            child.start()
            got = receive.recv_bytes()
            child.join()
            receive.close()
            send.close()
            if got != want or child.exitcode:
                return f"a child gives something else (status {child.exitcode})"
        return ""

    return part


def forks() -> Part:
    """Children by fork, while a pool with threads is open."""
    pool = lstm_infer.load(MODEL).pool(threads=2)
    ids = np.array([pool.open() for _ in range(64)])
    x = np.broadcast_to(sound(512), (64, 512, 1, 1)).copy()
    forked = _processes("fork")

    def part(n: int) -> str:
        pool.run(ids, x)
        return forked(n)

    return part


def threads() -> Part:
    """Four threads, a stream each, of one model."""
    model, x = lstm_infer.load(MODEL), sound(2048)

    def part(n: int) -> str:
        found: list[bytes] = []

        def work() -> None:
            stream = model.stream()
            for _ in range(max(1, n // 4)):
                stream.run(x)
            found.append(stream.snapshot())

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return "" if len(found) == 4 and len(set(found)) == 1 else "threads end in different states"

    return part


def executor() -> Part:
    """Chunks of 16 streams from an event loop, in an executor of four threads."""
    model, x = lstm_infer.load(MODEL), sound(256)

    def part(n: int) -> str:
        async def one(loop: asyncio.AbstractEventLoop, workers: ThreadPoolExecutor) -> bytes:
            stream = model.stream()
            for _ in range(max(1, n // 16)):
                await loop.run_in_executor(workers, stream.run, x)
            return stream.snapshot()

        async def everything() -> set[bytes]:
            with ThreadPoolExecutor(4) as workers:
                loop = asyncio.get_running_loop()
                return set(await asyncio.gather(*(one(loop, workers) for _ in range(16))))

        return "" if len(asyncio.run(everything())) == 1 else "streams that were fed alike end in different states"

    return part


def audio() -> Part:
    """Seconds of sound (44,100 Hz) through a pool of 100 signals that join and leave, 64 frames a call; one stays to the end."""
    model = lstm_infer.load(MODEL)
    pool, alone, rng = model.pool(), model.stream(), np.random.default_rng(1)
    kept, others, x = pool.open(), [pool.open() for _ in range(99)], sound(64)
    chunks = np.broadcast_to(x, (100, *x.shape)).copy()

    def part(n: int) -> str:
        for call in range(max(1, n * 44_100 // (100 * 64))):
            pool.run(np.array([kept, *others]), chunks)
            alone.run(x)
            if call % 10 == 0:
                place = int(rng.integers(99))
                pool.close(others[place])
                others[place] = pool.open()
        return "" if pool.snapshot(kept) == alone.snapshot() else "the signal that stayed is not the one alone"

    return part


ROWS: dict[str, tuple[Callable[[], Part], int, int]] = {
    "steps": (steps, 200_000, 10_000_000),
    "loads": (loads, 300, 100_000),
    "streams": (streams, 5_000, 100_000),
    "pickles": (pickles, 300, 10_000),
    "forks": (forks, 10, 300),
    "spawns": (lambda: _processes("spawn"), 2, 50),
    "threads": (threads, 400, 20_000),
    "executor": (executor, 1_600, 200_000),
    "audio": (audio, 600, 86_400),
}
"""By name: what makes it, how much of it is done, and how much with --long."""


def rows(names: list[str], long: bool) -> Iterator[Row]:
    """Do them one after the other."""
    for name in names:
        make, few, many = ROWS[name]
        n = many if long else few
        part = make()
        wrong = part(max(1, int(n * FIRST)))
        before, began = resident(), time.perf_counter()
        wrong = wrong or part(n - int(n * FIRST))
        yield Row(name, n, time.perf_counter() - began, before, resident(), wrong)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", choices=list(ROWS), action="append")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = []
    for row in rows(args.only or list(ROWS), args.long):
        found.append(row)
        if not args.json:
            grown = (row.after - row.before) / 1024
            print(f"{row.name:9} {row.times:>12,}  {row.seconds:8.1f} s  {row.before / 2**20:6.1f} MiB {grown:+8.0f} KiB  "
                  f"{row.wrong or ('ok' if row.ok else 'memory grows')}", flush=True)  # fmt: skip
    if args.json:
        print(json.dumps([asdict(row) | {"ok": row.ok} for row in found]))
    return int(not all(row.ok for row in found))


if __name__ == "__main__":
    sys.exit(main())
