"""Streams, pools and models used by several threads at once: for ThreadSanitizer, which sees what happens without the GIL.

    CC=gcc CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=thread" LDFLAGS="-fsanitize=thread" \\
        python setup.py build_ext --inplace --force                  # in a copy of the tree: modules so built need the preload
    OPENBLAS_NUM_THREADS=1 PYTHONPATH=src setarch -R env LD_PRELOAD=$(gcc -print-file-name=libtsan.so) \\
        python tools/race_threads.py --seconds 20
    ... python tools/race_threads.py --plant                         # two threads write one array: it must report that

Each part has threads that do what they like to things that they share. A call that meets another one may be refused
(`StateError`); anything else that is raised, or a result that one thread alone would not have, ends with status 1.
A race ends with ThreadSanitizer's own status, 66. Without it the driver runs too, and looks at the results only.
On a free-threaded Python it also fails where a module has switched the GIL on; `--model` takes a native file of the
demo's model, where there is no onnx.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import random
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

import lstm_infer
from lstm_infer import StateError
from lstm_infer.cli.demo.show import MODEL

Do = Callable[[random.Random], object]
MODELS = [str(MODEL)]
"""The file that all load: one that holds the demo's model."""
STEPS = 512
"""A chunk as long as that runs without the GIL."""


def sound(n: int, seed: int = 0) -> np.ndarray:
    """n frames of the demo's input."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 1, 1)).astype(np.float32)


def one_stream() -> dict[str, Do]:
    """All that a stream can do, on one stream."""
    model, x, frame = lstm_infer.load(MODELS[0]), sound(STEPS), sound(1)[0]
    stream, start = model.stream(), model.stream().snapshot()
    return {
        "step": lambda rng: [stream.step(frame) for _ in range(rng.randrange(1, 50))],
        "step into": lambda rng: stream.step(frame, out=stream.fork().step(frame)),
        "run": lambda rng: stream.run(x[: rng.randrange(1, STEPS)]),
        "run more": lambda rng: stream.run(x),
        "snapshot": lambda rng: model.stream().restore(stream.snapshot()),
        "fork": lambda rng: stream.fork().run(x),
        "restore": lambda rng: stream.restore(start),
        "reset": lambda rng: stream.reset(),
    }


def one_model() -> dict[str, Do]:
    """A model shared: each thread has streams and pools of its own, and many signals go through it at once."""
    model, x = lstm_infer.load(MODELS[0]), sound(STEPS)
    want = model.stream().run(x)
    signals = [x, x[:100], x[:300], x]

    def alone(rng: random.Random) -> None:
        """A stream cut anywhere, forked and restored on its way."""
        stream, cut = model.stream(), rng.randrange(1, STEPS)
        stream.run(x[:cut])
        same(stream.fork().run(x[cut:]), want[cut:])
        other = model.stream()
        other.restore(stream.snapshot())
        same(other.run(x[cut:]), want[cut:])

    def many(rng: random.Random) -> None:
        for got, signal in zip(model.run_many(signals, threads=rng.randrange(1, 4)), signals, strict=True):
            same(got, want[: len(signal)])

    def pooled(rng: random.Random) -> None:
        n = rng.randrange(1, 20)
        with model.pool(threads=rng.randrange(1, 4)) as pool:
            got = pool.run(pool.open_many(n), np.broadcast_to(x, (n, *x.shape)).copy())
        for one in got:
            same(one, want)

    def dropped(rng: random.Random) -> None:
        """Streams that end in another thread than the one that made them, which steps its own meanwhile."""
        streams = [model.stream() for _ in range(8)]
        for stream in streams:
            stream.run(x[: rng.randrange(1, STEPS)])
        end = threading.Thread(target=streams.clear)
        end.start()
        same(model.stream().run(x), want)
        end.join()

    def loaded(_rng: random.Random) -> None:
        same(lstm_infer.load(MODELS[0], threads=2).stream().run(x), want)

    return {"streams": alone, "many": many, "pools": pooled, "loads": loaded, "dropped": dropped, "streams too": alone}


def one_pool() -> dict[str, Do]:
    """All that a pool of two threads can do, on one pool; some signals stay, others come and go."""
    model, x = lstm_infer.load(MODELS[0]), sound(STEPS)
    pool = model.pool(threads=2)
    stay = pool.open_many(16)
    chunk, frames = np.broadcast_to(x, (16, *x.shape)).copy(), np.broadcast_to(x[0], (16, *x[0].shape)).copy()

    def guests(rng: random.Random) -> None:
        id = pool.open()
        try:
            pool.run([id], x[None, : rng.randrange(1, STEPS)].copy())
            pool.restore(pool.snapshot(id))
        finally:
            closed(id)

    def closed(id: int) -> None:
        while id in pool:  # whoever is inside is soon outside; tidy may come first
            with contextlib.suppress(StateError):
                pool.close(id)

    def moved(_rng: random.Random) -> None:
        stream = model.stream()
        stream.run(x[:64])
        id = pool.adopt(stream)
        try:
            pool.run([id], x[None])
        finally:
            closed(id)

    def tidy(_rng: random.Random) -> None:
        """What guests restored is closed; it piles up otherwise."""
        pool.close([id for id in pool.ids if id not in stay][:8])

    return {
        "step": lambda rng: [pool.step(stay, frames) for _ in range(rng.randrange(1, 20))],
        "run": lambda rng: pool.run(stay, chunk[:, : rng.randrange(1, STEPS)]),
        "guests": guests,
        "moved": moved,
        "reset": lambda rng: pool.reset(stay[: rng.randrange(1, 16)]),
        "snapshot": lambda rng: model.stream().restore(pool.snapshot(int(stay[rng.randrange(16)]))),
        "tidy": tidy,
        "look": lambda rng: (len(pool), pool.nbytes, pool.ids),
    }


def planted() -> dict[str, Do]:
    """Two streams write one array: the caller's own race, which must be reported."""
    model, x = lstm_infer.load(MODELS[0]), sound(4096)
    out = np.empty((4096, *model.stream().run(x[:1]).shape[1:]), np.float32)

    def write(_rng: random.Random) -> None:
        model.stream().run(x, out=out)

    return {"write": write, "write too": write}


def same(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to the bit, or an error."""
    if not np.array_equal(got, want):
        raise AssertionError("a result differs from that of one thread alone")


def without_gil() -> bool:
    """Whether the GIL is off with all modules loaded but those that need what is not installed."""
    for module in pkgutil.walk_packages(lstm_infer.__path__, "lstm_infer."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def race(works: dict[str, Do], seconds: float, seed: int) -> tuple[Counter[str], Counter[str], list[str]]:
    """Each in a thread, again and again; how often each ran, how often it was refused, and what else was raised."""
    ran: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong: list[str] = []
    gate, end = threading.Barrier(len(works)), time.monotonic() + seconds

    def work(name: str, do: Do, rng: random.Random) -> None:
        gate.wait()
        while time.monotonic() < end and not wrong:
            try:
                do(rng)
                ran[name] += 1
            except StateError:
                refused[name] += 1
            except BaseException as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
            # what is quick leaves the others no way in otherwise
            time.sleep(rng.random() * 1e-3 * len(works))

    threads = [
        threading.Thread(target=work, args=(name, do, random.Random(f"{seed} {name}"))) for name, do in works.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ran, refused, wrong


PARTS = {"stream": one_stream, "model": one_model, "pool": one_pool}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each part (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--plant", action="store_true", help="a race that must be reported")
    parser.add_argument("--model", default=MODELS[0], help="a file with the demo's model (default: its ONNX file)")
    args = parser.parse_args()
    MODELS[0] = args.model
    status = 0
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        status = int(not without_gil())
        print("the GIL is", "on" if status else "off", flush=True)
    chosen = {"planted": planted} if args.plant else {args.only: PARTS[args.only]} if args.only else PARTS
    for name, make in chosen.items():
        ran, refused, wrong = race(make(), args.seconds, args.seed)
        told = ", ".join(
            f"{work} {ran[work]}" + (f" ({refused[work]} refused)" if refused[work] else "") for work in ran
        )
        print(f"{name}: seed {args.seed}: {told}: {'; '.join(wrong) or 'fine'}", flush=True)
        status |= bool(wrong) or (not args.plant and len(ran) < len(make()))
    return status


if __name__ == "__main__":
    sys.exit(main())
