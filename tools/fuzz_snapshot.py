"""Snapshots that are damaged and sealed again, so that their checksum is right: each is refused, or goes on, and never more.

    python tools/fuzz_snapshot.py --n 100000 --seed 1
    python tools/fuzz_snapshot.py --seed 1 --only 471       one case again, with its traceback

A case depends on the seed and its number only. It takes a snapshot of one of the streams of tests/snapshot_cases.py, changes
bits, numbers, names, lengths or values in it, and gives it to a stream, whole or into some rows. A refusal is one of our
errors and leaves the stream as it was. Where it is taken, the stream runs on, over blocks of every length; that may be
refused too, where a position or a length is outside of what it counts. Built with a sanitizer, C is watched meanwhile.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lstm_infer.errors import LstmInferError
from lstm_infer.streams import snapshot_format
from snapshot_cases import CASES, Case, forged, sealed

NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    127,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]


@dataclass
class Subject:
    """A stream of one case, and snapshots of it at several places."""

    name: str
    case: Case
    batch: int
    stream: Any
    snaps: list[bytes]


def subjects() -> list[Subject]:
    """Each case alone and in a batch."""
    found = []
    for name, case in CASES.items():
        model = case.model()
        for batch in (1, 3):
            stream, snaps, x = case.stream(model, batch), [], case.signal(80, batch)
            for begin, end in ((0, 1), (1, 4), (4, 9), (9, 80)):
                stream.run(case.part(x, begin, end))
                snaps.append(stream.snapshot())
            snaps += [stream.snapshot(rows=[0])]
            found.append(Subject(name, case, batch, stream, snaps))
    return found


def damaged(rng: random.Random, snap: bytes, others: list[bytes]) -> tuple[str, bytes]:
    """What was done, and what came of it."""
    kind = rng.choice(["bits", "number", "cut", "insert", "header", "payload", "mixed", "held", "two"])
    data = bytearray(snap)
    n_header = int.from_bytes(snap[40:44], "little")
    if kind == "bits":
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
    elif kind == "number":
        size, at = rng.choice([1, 2, 4, 8]), rng.randrange(7, len(data) - 8)
        data[at : at + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, "little")
    elif kind == "cut":
        at = rng.randrange(24, len(data))
        del data[at : at + rng.choice([1, 2, 8, 64, len(data)])]
    elif kind == "insert":
        at = rng.randrange(24, len(data) + 1)
        data[at:at] = rng.randbytes(rng.choice([1, 2, 8, 64]))
    elif kind == "header":  # the numbers in front
        at = rng.choice([24, 28, 32, 36, 40, 44])
        data[at : at + 4] = (rng.choice(NUMBERS) % 2**32).to_bytes(4, "little")
    elif kind == "payload":
        at = rng.randrange(n_header, len(data) + 1)
        n = min(rng.choice([1, 4, 8, 100]), len(data) - at)
        data[at : at + n] = rng.choice([rng.randbytes(n), b"\xff" * n, b"\0" * n, b"\x7f" * n])
    elif kind == "mixed":
        other = rng.choice(others)
        at = rng.randrange(24, min(len(data), len(other)))
        data[at:] = other[at:]
    elif kind == "held":
        memory = [entry.name for entry in snapshot_format.read(snap).entries if entry.time >= 0]
        some = {
            name: rng.choice([-(2**62), -100, -2, -1, *range(9), 100, 2**40]) for name in memory if rng.random() < 0.7
        }
        return kind, forged(snap, **some)
    else:  # bits here, and a part of another one behind
        at = rng.randrange(24, len(data))
        data[at] ^= 1 << rng.randrange(8)
        other = rng.choice(others)
        at = rng.randrange(24, min(len(data), len(other)))
        data[at : at + 8] = other[at : at + 8]
    return kind, sealed(bytes(data)) if rng.random() < 0.95 else bytes(data)


def tried(rng: random.Random, all_of: list[Subject]) -> str:
    """One case: its outcome."""
    subject = rng.choice(all_of)
    source = subject if rng.random() < 0.85 else rng.choice(all_of)
    kind, data = damaged(rng, rng.choice(source.snaps), [snap for s in all_of for snap in s.snaps])
    rows = rng.choice([None, None, [0], [subject.batch - 1], list(range(subject.batch))])
    stream = subject.stream
    before = stream.snapshot()
    try:
        stream.restore(data, rows)
    except LstmInferError as error:
        assert stream.snapshot() == before, "a refused snapshot left a trace"
        return f"{kind}: {type(error).__name__}"
    outcome = "taken"
    try:
        stream.snapshot()
        for n in (1, rng.choice([0, 3, 7]), rng.choice([1, 17, 70])):
            stream.run(subject.case.signal(n, subject.batch))
        if stream.lag and rng.random() < 0.3:
            stream.flush()
        stream.snapshot()
    except LstmInferError as error:
        outcome = f"taken, then {type(error).__name__}"
    stream.restore(rng.choice(subject.snaps[:4]))
    return f"{kind}: {outcome}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    np.seterr(all="ignore")
    all_of = subjects()
    counts: collections.Counter[str] = collections.Counter()
    begin, failed = time.perf_counter(), 0
    for number in [given.only] if given.only is not None else range(given.n):
        try:
            counts[tried(random.Random(given.seed * 1_000_003 + number), all_of)] += 1
        except Exception:
            failed += 1
            print(f"case {number} of seed {given.seed}:\n{traceback.format_exc()}", flush=True)
            all_of = subjects()
    for outcome, count in sorted(counts.items()):
        print(f"{count:8d}  {outcome}")
    print(
        f"seed {given.seed}: {sum(counts.values()) + failed} snapshots in {time.perf_counter() - begin:.0f} s, {failed} failed"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
