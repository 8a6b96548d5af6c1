"""Some of 10^4 signals of a pool, beside a batch in lockstep of as many, a stream for each, and frames that come one by one.

python -m benchmarks.pool [--quick] [--json]

Microseconds a call, each returning new arrays; the outputs of pool and streams are compared bit for bit in the same run.
`submit` and `astep`: as many frames, each submitted by itself and stepped with the others, until the last answer is there.
`peer`: where livekit-local-inference is installed, which holds silero_vad alone, one of its detectors for each signal, by
turns; `callers`: signals that a core keeps up with at a frame each 32 ms.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import arguments, conditions, finish, load, models_folder, pinned, recurrent_model
from benchmarks.models import OPTIONS
from lstm_infer import Model, StreamPool

ALIVE, QUICK = 10_000, 1_000
SIZES = (1, 8, 64, 1000)
ORDERS = 20
"""Different choices of signals, one after the other."""
LEAST_S = 0.02
A_CALL_US, A_SIGNAL_US, TIMES = 0.3, 0.015, 1.1
"""What a step may cost beside that of a batch in lockstep."""


PEER = "livekit-local-inference"
FRAME_US = 32_000
"""Of silero_vad."""
CONTEXT, FULL_SCALE, NEAR = 64, 32768, 1e-4
"""Samples of the frame before that a frame begins with; what int16 samples are of; probabilities of both engines."""


def detectors(n: int, pool: StreamPool) -> Callable[[], object] | None:
    """A frame through n detectors of livekit-local-inference; None where it is not installed."""
    try:
        from livekit.local_inference import VAD, VAD_WINDOW_SAMPLES
    except ImportError:
        return None
    rng, theirs, ours = np.random.default_rng(n), [VAD() for _ in range(n)], [pool.open() for _ in range(n)]
    context = np.zeros((n, CONTEXT), np.float32)
    for _ in range(5):  # both hear the same
        samples = rng.integers(-9000, 9000, (n, VAD_WINDOW_SAMPLES), np.int16)
        x = np.concatenate([context, samples / np.float32(FULL_SCALE)], 1, dtype=np.float32)
        context = x[:, -CONTEXT:]
        found = pool.step(ours, x[:, None])
        probability = (next(iter(found.values())) if isinstance(found, dict) else found).reshape(n)
        heard = np.array([vad.predict(frame) for vad, frame in zip(theirs, samples, strict=True)])
        if not np.abs(probability - heard).max() < NEAR:
            sys.exit("livekit-local-inference gives other probabilities: nothing to compare with")
    for id in ours:
        pool.close(id)
    frames = list(samples)

    def each() -> None:
        for vad, frame in zip(theirs, frames, strict=True):
            vad.predict(frame)

    return each


def per_call(call: Callable[[], object]) -> float:
    """Microseconds a call, over enough of them."""
    n, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < LEAST_S:
        call()
        n += 1
    return took / n * 1e6


def measured(model: Model, alive: int, n: int, rounds: int, peer: bool) -> tuple[dict[str, float], bool]:
    """The least of some rounds, in turns; and whether each signal had its own bits. peer: livekit-local-inference too."""
    rng = np.random.default_rng(n)
    pool = model.pool(reserve=alive)
    ids = np.array([pool.open() for _ in range(alive)])
    orders = cycle([rng.permutation(ids)[:n].copy() for _ in range(ORDERS)])
    batch, plan = model.stream(n), model.stream()._plan
    ((name, fact),) = plan.step_facts.items()
    x = rng.uniform(-1, 1, (n, *fact.shape)).astype(fact.dtype)
    wide = rng.uniform(-1, 1, batch._plan.step_facts[name].shape).astype(fact.dtype)
    streams = [model.stream() for _ in range(n)]
    alike = all(
        a.tobytes() == stream.step(frame).tobytes()
        for a, stream, frame in zip(pool.step(ids[:n], x), streams, x, strict=True)
    )
    frames = list(x)

    def each() -> None:
        for stream, frame in zip(streams, frames, strict=True):
            stream.step(frame)

    collects = model.pool(reserve=n, max_batch=n, max_wait=60)  # the last one makes it full
    mine = [collects.open() for _ in range(n)]

    def submit() -> None:
        for future in [collects.submit(id, frame) for id, frame in zip(mine, frames, strict=True)]:
            future.result()

    async def astep() -> None:
        await asyncio.gather(*[collects.astep(id, frame) for id, frame in zip(mine, frames, strict=True)])

    calls = {"lockstep": lambda: batch.step(wide), "pool": lambda: pool.step(next(orders), x), "streams": each}
    with collects, asyncio.Runner() as runner:
        calls |= {"submit": submit, "astep": lambda: runner.run(astep())}
        if peer and (theirs := detectors(n, pool)):
            calls["peer"] = theirs
        best: dict[str, float] = dict.fromkeys(calls, float("inf"))
        for _ in range(rounds):
            for what, call in calls.items():
                best[what] = min(best[what], per_call(call))
    return best, alike


def main() -> int:
    """Measure and print."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rounds, alive = (2, QUICK) if args.quick else (args.rounds, ALIVE)
    nets: dict[str, tuple[Any, dict[str, Any]]] = {
        "lstm (3, 16, 1)": (recurrent_model(3, 16, 1), {}),
        "gru (32, 64, 1)": (recurrent_model(32, 64, 1, op="GRU"), {}),
        "lstm (128, 128, 1)": (recurrent_model(128, 128, 1), {}),
    }
    silero = models_folder() / "silero_vad.onnx"
    if silero.exists():
        nets["silero_vad"] = silero, OPTIONS["silero_vad"]
    rows, data, ok = [], [], True
    with pinned() as core:
        for name, (source, options) in nets.items():
            model = load(source, isa=args.isa, **options)
            for n in SIZES:
                voice = name == "silero_vad"
                best, alike = measured(model, max(alive, n), n, rounds, voice)
                peer = best.pop("peer", None)
                limit = TIMES * best["lockstep"] + A_CALL_US + A_SIGNAL_US * n
                ok &= alike
                rows.append(
                    [name, str(n), *(f"{best[w]:.2f}" for w in best), f"{limit:.2f}", f"{best['streams'] / best['pool']:.1f}x",
                     "-" if peer is None else f"{peer:.2f}", "-" if peer is None else f"{peer / best['pool']:.2f}x",
                     f"{FRAME_US * n / best['pool']:.0f}" if voice else "-", "" if alike else "OTHER BITS"]
                )  # fmt: skip
                data.append({"net": name, "signals": n, **best, "peer": peer, "target": limit, "same_bits": alike})
    said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["method"] = f"least of {rounds} rounds in turns, us a call, new arrays; {alive} signals in the pool"
    said["peer"] = f"{PEER} {version(PEER)}" if find_spec("livekit") else f"none; pip install {PEER}"
    timed = ["lockstep", "pool", "streams", "submit", "astep"]
    head = ["net", "signals", *timed, "target", "to streams", "peer", "to peer", "callers", ""]
    return finish(args, head, rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
