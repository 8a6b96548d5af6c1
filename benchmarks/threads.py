"""Two Python threads, each stepping a stream of its own of one (512, 512, 1) LSTM, beside one thread.

python -m benchmarks.threads [--quick] [--json]
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from itertools import repeat
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import arguments, conditions, finish, load, recurrent_model
from lstm_infer import Model

SIZE = (512, 512, 1)
STEPS = 2000


def steps_per_second(model: Model, n_threads: int, n_steps: int) -> float:
    """All threads together."""
    ready = threading.Barrier(n_threads + 1)
    done = threading.Barrier(n_threads + 1)

    def work() -> None:
        stream, x, y = model.stream(), np.ones((1, SIZE[0]), np.float32), np.empty((1, SIZE[1]), np.float32)
        stream.step(x, out=y)
        ready.wait()
        for _ in repeat(None, n_steps):
            stream.step(x, out=y)
        done.wait()

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    done.wait()
    took = time.perf_counter() - began
    for thread in threads:
        thread.join()
    return n_threads * n_steps / took


def main() -> int:
    """Measure and print."""
    args = arguments(__doc__.splitlines()[0]).parse_args()
    rounds, n_steps = (2, 300) if args.quick else (args.rounds, STEPS)
    model = load(recurrent_model(*SIZE), isa=args.isa)
    made: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for n in made:
            made[n].append(steps_per_second(model, n, n_steps))
    one, two = (statistics.median(made[n]) for n in (1, 2))
    rows = [["1", f"{one:.0f}", "1.00x"], ["2", f"{two:.0f}", f"{two / one:.2f}x"]]
    said = conditions(model.isa, threads=2, core=None, rounds=rounds)
    said["method"] = (
        f"{n_steps} steps a thread, a stream a thread, one model; median of {rounds} interleaved rounds; no peer"
    )
    head = [f"threads, {SIZE}", "steps/s", "of one thread"]
    return finish(args, head, rows, said, {"one": one, "two": two, "ratio": two / one}, True)


if __name__ == "__main__":
    sys.exit(main())
