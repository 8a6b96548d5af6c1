"""Signals of a pool join and leave at random; is every output, bit for bit, that of the same signal alone.

python tools/join_and_leave.py [--seed N] [--quick] [--precision P ...] [NAME ...]

10^4 signals at most, 16 ids a call on the average: 10^5 calls of an LSTM and a GRU, 10^4 of silero_vad (where it is), of a
Conv that looks ahead and of a frame model with two signals; in f32, f16 and int8. Each signal has a stream of its own
beside it. One line for each model and precision: calls, steps, the most signals at once, those that joined and left,
bytes of the pool for each. Some five minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from benchmarks import nets
from benchmarks.common import load, models_folder, recurrent_model
from benchmarks.models import OPTIONS
from onnx import helper, load_model_from_string

from lstm_infer import Model

ALIVE, CALLS, FEWER = 10_000, 100_000, 10_000
PRECISIONS = ("f32", "f16", "int8")
IDS = 16
"""Of a call, on the average."""
JOIN = 0.2
"""Chance of a call in front of which some join, and of one behind which some leave."""
A_SIGNAL, AT_ONCE = 128, 1 << 20
"""Bytes that a signal may take beside its state, and the pool beside its signals: slabs that are not full, tables."""


def two_signals() -> bytes:
    """One step of a net with two signals that stand alike."""
    x = helper.make_node("Add", ["x", "u"], ["xu"])
    made = nets._as_frames([], [], [])
    model = load_model_from_string(made)
    for node in model.graph.node:
        node.input[:] = ["xu" if name == "x" else name for name in node.input]
    model.graph.node.insert(0, x)
    model.graph.input.insert(1, helper.make_tensor_value_info("u", nets.FLOAT, ["B", nets.INPUTS]))
    return bytes(model.SerializeToString())


def models() -> dict[str, tuple[Any, dict[str, Any], int]]:
    """By name: source, how it is loaded, calls."""
    found: dict[str, tuple[Any, dict[str, Any], int]] = {
        "lstm": (recurrent_model(3, 16, 1), {}, CALLS),
        "gru": (recurrent_model(32, 64, 1, op="GRU"), {}, CALLS),
        "lag": (nets.lag(), {}, FEWER),
        "two signals": (two_signals(), {}, FEWER),
    }
    silero = models_folder() / "silero_vad.onnx"
    if silero.exists():
        found["silero_vad"] = silero, OPTIONS["silero_vad"], FEWER
    return found


class Pool:
    """A pool, and beside it a stream for each of its signals."""

    def __init__(self, model: Model, rng: np.random.Generator) -> None:
        self.model, self.rng, self.pool = model, rng, model.pool()
        self.ids, self.alone = list[int](), dict[int, Any]()
        plan = model.stream()._plan
        self.facts = {name: (fact.shape, fact.dtype) for name, fact in plan.step_facts.items()}
        self.ahead = bool(plan.spec.lag)
        self.most = self.joined = self.left = self.steps = 0

    def join(self, n: int) -> None:
        """Some begin."""
        for id in self.pool.open_many(n).tolist():
            self.alone[id] = self.model.stream()
            self.ids.append(id)
        self.joined += n
        self.most = max(self.most, len(self.ids))

    def leave(self, n: int) -> None:
        """Some end."""
        for _ in range(min(n, len(self.ids) - 1)):
            k = int(self.rng.integers(len(self.ids)))
            self.ids[k], self.ids[-1] = self.ids[-1], self.ids[k]
            id = self.ids.pop()
            self.pool.close(id)
            del self.alone[id]
            self.left += 1

    def call(self) -> bool:
        """A step of some, in any order; is it right."""
        n = min(int(self.rng.integers(1, 2 * IDS)), len(self.ids))
        which = self.rng.choice(len(self.ids), n, replace=False)
        ids = [self.ids[k] for k in which]
        fed = {name: self.rng.uniform(-1, 1, (n, *shape)).astype(dtype) for name, (shape, dtype) in self.facts.items()}
        self.steps += n
        if self.ahead:  # an output comes later than its frame
            made: Any = self.pool.run({id: {name: x[k] for name, x in fed.items()} for k, id in enumerate(ids)})
            rows = [made[id] for id in ids]
        else:
            made = self.pool.step(np.array(ids), fed)
            rows = [{name: y[k] for name, y in made.items()} for k in range(n)]
        for k, id in enumerate(ids):
            frame, stream = {name: x[k] for name, x in fed.items()}, self.alone[id]
            want: Any = stream.run(frame) if self.ahead else stream.step(frame)
            if any(want[name].tobytes() != y.tobytes() for name, y in rows[k].items()) or want.keys() != rows[k].keys():
                return False
        return True


def tried(name: str, model: Model, calls: int, alive: int, seed: int) -> bool:
    """One model; prints what was seen."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    pool, right, call = Pool(model, rng), True, 0
    pool.join(alive // 2)
    while right and call < calls:
        if rng.random() < JOIN:
            pool.join(min(int(rng.integers(1, 2 * IDS)), alive - len(pool.ids)))
        right = pool.call()
        if rng.random() < JOIN * (len(pool.ids) / alive):  # fuller and fuller
            pool.leave(int(rng.integers(1, 2 * IDS)))
        call += 1
    state = pool.pool._row_bytes
    fits = pool.pool.nbytes <= pool.most * (state + A_SIGNAL) + AT_ONCE
    print(
        f"{name}: {call:,} calls, {pool.steps:,} steps, {pool.most:,} at most, {pool.joined:,} joined, {pool.left:,} left; "
        f"{pool.pool.nbytes / pool.most:.0f} bytes a signal of {state}; {time.monotonic() - began:.0f} s: "
        + ("right" if right and fits else "TOO LARGE" if right else f"OTHER BITS in call {call}"),
        flush=True,
    )
    return right and fits


def main() -> int:
    """All that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models; none: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the calls, a tenth of the signals")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="of the weights; none: all of them")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    ok = True
    for name, (source, options, calls) in models().items():
        if args.names and name not in args.names:
            continue
        for precision in args.precision or PRECISIONS:
            model = load(source, precision=precision, **options)
            calls_now, alive = (calls // 100, ALIVE // 10) if args.quick else (calls, ALIVE)
            ok &= tried(f"{name}, {precision}", model, calls_now, alive, args.seed)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
