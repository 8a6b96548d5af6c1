"""Rows of tables with a state for each key, beside a dict of streams and the loop that people write over onnxruntime.

python -m benchmarks.keyed [--quick] [--json] [--keys N]     needs pip install '.[arrow,bench]'

Rows a second of the thread's own time, on one core. Every key has a row in a table of N, in the order of chance; the predictions
of some keys are compared bit for bit with those of streams, and those after a restart from the state table with those without.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.compute

from benchmarks.common import arguments, conditions, finish, load, pinned, recurrent_model
from lstm_infer.keyed import Scorer

KEYS, QUICK = 1_000_000, 20_000
INPUTS, HIDDEN = 3, 16
FEATURES = ["a", "b", "c"]
OPTIONS: dict[str, Any] = {"key": "device", "time": "at", "features": FEATURES}
STREAMS, RUNS = 100_000, 5_000
"""Rows of what goes row by row: enough to tell."""
CHECKED = 200
KINDS: dict[str, Callable[[Any], Any]] = {
    "text": lambda order: pa.array([f"device-{k:07d}" for k in order]),
    "int64": pa.array,
}


def took(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this thread, and what came out."""
    began = time.thread_time()
    result = call()
    return time.thread_time() - began, result


def table_of(keys: Any, at: int, seed: int) -> Any:
    """A row for each of these keys, at times from `at` on."""
    x = np.random.default_rng(seed).uniform(-1, 1, (INPUTS, len(keys))).astype(np.float32)
    columns = dict(zip(FEATURES, x, strict=True))
    return pa.table({"device": keys, "at": at + np.arange(len(keys)), **columns})


def by_streams(model: Any, table: Any) -> Callable[[], Any]:
    """A dict of streams, each row a step."""
    streams = {key: model.stream() for key in table["device"].to_pylist()}
    keys, x = table["device"].to_pylist(), np.stack([table[name].to_numpy() for name in FEATURES], 1)
    frames = list(x.reshape(-1, 1, 1, INPUTS))

    def call() -> list[Any]:
        return [streams[key].step(frame) for key, frame in zip(keys, frames, strict=True)]

    return call


def by_onnxruntime(source: bytes, table: Any) -> Callable[[], Any]:
    """The naive loop: a dict of states, a run for each row."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    zero = np.zeros((1, 1, HIDDEN), np.float32)

    def call() -> list[Any]:
        states: dict[Any, Any] = {}
        made = []
        for row in table.to_pylist():
            h, c = states.get(row["device"], (zero, zero))
            x = np.array([[[row[name] for name in FEATURES]]], np.float32)
            y, *states[row["device"]] = session.run(None, {"x": x, "h0": h, "c0": c})
            made.append(y)
        return made

    return call


def scored(scorer: Scorer, parts: list[Any]) -> Any:
    """Some tables, one after the other."""
    return [scorer.score(part) for part in parts]


def one_kind(
    model: Any, kind: str, keys_of: Callable[[Any], Any], n: int, rounds: int, say: Callable[..., None]
) -> bool:
    """All that is asked of keys of one type; are the bits right."""
    rng, scorer, at = np.random.default_rng(0), Scorer(model, **OPTIONS), 0
    tables = [table_of(keys_of(rng.permutation(n)), 0, 0)]
    seconds, found = took(partial(scored, scorer, tables))
    say(f"{kind} keys, all of them new", n, seconds)
    for size in (n, n // 10, n // 100):
        best = float("inf")
        for _ in range(rounds):
            at += n
            table = tables[0].take(pa.array(rng.permutation(n))).set_column(1, "at", pa.array(at + np.arange(n)))
            seconds, made = took(partial(scored, scorer, [table.slice(i, size) for i in range(0, n, size)]))
            best = min(best, seconds)
            tables.append(table)
            found.append(pa.concat_tables(made))
        say(f"{kind} keys, tables of {size:,}", n, best)
    ok = right(model, tables, found)
    seconds, kept = took(scorer.state_table)
    say(f"{kind} keys, state_table", n, seconds, "keys")
    seconds, other = took(partial(Scorer.from_state_table, kept, model, **OPTIONS))
    say(f"{kind} keys, from_state_table", n, seconds, "keys")
    later = tables[-1].set_column(1, "at", pa.array(at + n + np.arange(n)))
    ok &= other.score(later) == scorer.score(later) and other.state_table() == scorer.state_table()
    print(f"{kind} keys: {scorer.nbytes / n:.0f} bytes a key in all", file=sys.stderr)
    return ok


def right(model: Any, tables: list[Any], found: list[Any]) -> bool:
    """Do some keys have the bits of streams."""
    for key in tables[0]["device"].slice(0, CHECKED).to_pylist():
        stream = model.stream()
        for table, made in zip(tables, found, strict=True):
            row = pa.compute.index(table["device"], key).as_py()
            x = np.array([[[table[name][row].as_py() for name in FEATURES]]], np.float32)
            if stream.step(x).tobytes() != np.array(made["y"][row].as_py(), np.float32).tobytes():
                return False
    return True


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=KEYS, help=f"how many (default {KEYS})")
    args = parser.parse_args()
    n, rounds = (QUICK, 1) if args.quick else (args.keys, min(args.rounds, 3))
    source = recurrent_model(INPUTS, HIDDEN, 1)
    model, ok = load(source, isa=args.isa), True
    rows: list[list[str]] = []
    data: list[dict[str, Any]] = []

    def say(what: str, n_rows: int, seconds: float, unit: str = "rows") -> None:
        rows.append([what, f"{n_rows:,} {unit}", f"{seconds:.3f}", f"{n_rows / seconds:,.0f}"])
        data.append({"what": what, unit: n_rows, "s": seconds})

    with pinned() as core:
        for kind, keys_of in KINDS.items():
            ok &= one_kind(model, kind, keys_of, n, rounds, say)
        few = table_of(np.random.default_rng(1).permutation(np.repeat(np.arange(n // 1000), 1000)), 0, 1)
        scorer = Scorer(model, **OPTIONS)
        say("1,000 rows a key", few.num_rows, took(lambda: scorer.score(few))[0])
        part = table_of(KINDS["text"](np.arange(min(n, STREAMS))), 0, 0)
        say("dict of streams, row by row", part.num_rows, took(by_streams(model, part))[0])
        part = part.slice(0, RUNS)
        say("dict of states, onnxruntime's run row by row", part.num_rows, took(by_onnxruntime(source, part))[0])
    said = conditions(model.isa, threads=1, core=core, rounds=rounds)
    said["method"] = f"least of {rounds} tables, seconds of the thread's own time; LSTM ({INPUTS}, {HIDDEN}, 1)"
    return finish(args, ["what", "of", "s", "a second"], rows, said, data, ok)


if __name__ == "__main__":
    sys.exit(main())
