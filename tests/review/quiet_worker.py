"""Run with watch.c preloaded: what calls of streams ask of the system, road by road, as one JSON object.

quiet_worker.py WATCH.so ROADS.json    [{"name", "file", "batch", "side", "how", "shapes"}, ...]
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from itertools import repeat

import numpy as np

import lstm_infer

N = 500


def calls(call, x, n, into):
    """n calls; `into`: what they fill, or None."""
    if into is None:
        for _ in repeat(None, n):
            call(x)
    else:
        for _ in repeat(None, n):
            call(x, out=into)


def counted(watch, call, x, into):
    """Allocations and locks of N calls; what watching itself costs is taken off, once it has been done before."""
    found = []
    for n in (0, 0, N):
        watch.watch()
        calls(call, x, n, into)
        watch.unwatch()
        found.append((watch.allocated(), watch.locked()))
    return [after - before for before, after in zip(*found[1:], strict=True)]


def system_call(watch, call, x, into):
    """The number of the first system call of N calls, made in a process of its own; -1: none; None: it cannot be seen here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        trouble = watch.no_system_calls()
        if trouble == 0:
            calls(call, x, N, into)
        os.write(1, b"none\n" if trouble == 0 else b"trouble\n")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read().strip()
    _, status = os.waitpid(child, 0)
    if said == "trouble":
        return None
    return -1 if said == "none" and status == 0 else int(said or status)


def ready(road):
    """The call, what it takes and what it fills, made a few times already."""
    rng = np.random.default_rng(0)
    side = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in road["side"].items()}
    stream = lstm_infer.load(road["file"]).stream(batch=road["batch"], inputs=side)
    parts = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in road["shapes"].items()}
    alone = len(parts) == 1 and "dict" not in road["how"]
    x = next(iter(parts.values())) if alone else parts
    call = stream.run if "run" in road["how"] else stream.step
    made = call(x)
    if "dict" in road["how"] and not isinstance(made, dict):
        raise AssertionError("a dict in is a dict out")
    into = {name: np.empty_like(y) for name, y in made.items()} if isinstance(made, dict) else np.empty_like(made)
    calls(call, x, 4, into)
    return call, x, None if "new" in road["how"] else into


def in_a_thread(work):
    """What it returns, in a thread that is new."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def report(watch, road):
    call, x, into = ready(road)

    def look():
        if "thread" in road["how"]:
            calls(call, x, 1, into)  # the first call of a thread may allocate
        allocations, locks = counted(watch, call, x, into)
        return {"allocations": allocations, "locks": locks, "system_call": system_call(watch, call, x, into)}

    return in_a_thread(look) if "thread" in road["how"] else look()


def controls(watch):
    """Does the watch see anything: an array made, a lock taken, a system call."""
    lock = threading.Lock()

    def locking(x):
        with lock:
            pass

    return {
        "allocations": counted(watch, lambda x: np.empty(4096), 0, None)[0],
        "locks": counted(watch, locking, 0, None)[1],
        "system_call": system_call(watch, lambda x: os.getppid(), 0, None),
    }


def main():
    watch = ctypes.CDLL(sys.argv[1])
    watch.allocated.restype = watch.locked.restype = ctypes.c_long
    with open(sys.argv[2]) as file:
        roads = json.load(file)
    found = {road["name"]: report(watch, road) for road in roads}
    print(json.dumps({"controls": controls(watch), "roads": found}))


if __name__ == "__main__":
    main()
