"""Native files that are damaged, and sealed again so that their checksums are right: each is refused, or runs, and never more.

    python tools/fuzz_native.py --n 100000 --seed 1
    python tools/fuzz_native.py --n 1000000 --seed 1 --read    through reader and verifier alone: three times as many in an hour
    python tools/fuzz_native.py --seed 1 --only 471       one case again, with its traceback

A case depends on the seed and its number only. It takes one of a few small files, changes bits, cuts or swaps in it as it
is, or numbers, texts, lists, spans and blocks behind new checksums, and loads it; what loads is streamed and run. A refusal is
one of our errors. Built with a sanitizer, C is watched meanwhile.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from math import prod
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import lstm_infer
import snapshot_cases
import stream_models
from lstm_infer.conversion.native import write_native
from lstm_infer.errors import LstmInferError
from lstm_infer.isa import choose_isa
from lstm_infer.native.container import HEADER, native
from lstm_infer.native.plans import MappedPlan, plans_in
from lstm_infer.native.reader import restored

ODD: list[Any] = [
    0, 1, 2, 3, -1, 7, 15, 16, 17, 63, 64, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63,
    2**64, -(2**63), 1.5, "", "x", "float32", "int8", "const", None, True, [], {}, [1], ["nan"], {"const": 0},
]  # fmt: skip
MOST = 1 << 20
"""Elements that are fed at most."""
ISA = choose_isa()
SECONDS = 10
"""More than this for a case is a hang."""


SOURCES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "lstm": (stream_models.hidden_state, {}, ()),
    "ports": (stream_models.state_io, {}, ()),
    "queues": (snapshot_cases.queued, {"time_axis": {"x": 2}}, ()),
    "counts": (snapshot_cases.counted, {}, ()),
    "f16": (stream_models.wide, {"precision": "f16"}, ()),
    "int8": (stream_models.wide, {"precision": "int8"}, ()),
    "gates": (stream_models.gated, {}, ()),  # booleans come in and go out
    "booleans": (snapshot_cases.remembers_whether, {"states": {"seen": "seen_out"}}, ()),  # and are a state
    "sizes": (stream_models.sized, {}, ({"x": (None, 12)}, {"x": (None, 30)})),  # three plans
}
"""By name: a model, what it is loaded with, and the sizes besides the usual ones for which the file holds plans."""


def files() -> dict[str, bytes]:
    """The files that are damaged, by name."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.lsi"
        for name, (source, options, plans) in SOURCES.items():
            write_native(lstm_infer.load(source(), **options), path, plans)
            made[name] = path.read_bytes()
    return made


class Parts:
    """A file taken apart: its documents, and its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.fields = list(HEADER.unpack_from(data))
        start, length = self.fields[5:7]
        self.head = json.loads(data[start : start + length])
        self.documents = {name: json.loads(data[a : a + n]) for name, (a, n, _) in self.head["documents"].items()}

    @property
    def plans(self) -> tuple[int, int]:
        """Where the plans begin, and their bytes."""
        return self.fields[8] * 64, self.fields[9]

    def sealed(self, spans: dict[str, list[int]] | None = None) -> bytes:
        """A file of them, documents behind all blocks, with checksums that fit. spans: what is said instead of where they are."""
        out = self.data
        places: dict[str, list[int]] = {}
        blocks = self.documents["model"].get("blocks")
        for block in blocks if isinstance(blocks, list) else []:
            if isinstance(block, list) and len(block) == 5 and all(type(n) is int for n in block[2:4]):
                block[4] = crc32(out[max(block[2], 0) : max(block[2] + block[3], 0)])
        start, length = self.plans
        self.fields[10] = crc32(out[start : start + length])
        for name, document in self.documents.items():
            places[name] = self._put(document)
        head = self._put({**self.head, "documents": {**places, **(spans or {})}})
        self.fields[4:8] = [len(out), *head]
        own = crc32(HEADER.pack(*self.fields)[: HEADER.size - 4])
        out[: HEADER.size] = HEADER.pack(*self.fields[:-1], own)
        return bytes(out)

    def _put(self, document: Any) -> list[int]:
        data = json.dumps(document).encode()
        self.data += bytes(-len(self.data) % 64)
        self.data += data
        return [len(self.data) - len(data), len(data), crc32(data)]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One damaged file."""
    if rng.random() < 0.15:
        return _raw(rng, bytearray(data))
    parts = Parts(data)
    spans = None
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        what = rng.random()
        if what < 0.35:
            _word(rng, parts)
        elif what < 0.75:
            _change(rng, parts.documents[rng.choice(sorted(parts.documents))])
        elif what < 0.85:
            blocks = parts.documents["model"].get("blocks")
            if isinstance(blocks, list) and len(blocks) > 1 and all(isinstance(b, list) for b in blocks):
                one, other = rng.sample(range(len(blocks)), 2)
                blocks[one][2:4], blocks[other][2:4] = blocks[other][2:4], blocks[one][2:4]
        elif what < 0.95:
            at = rng.randrange(HEADER.size, parts.fields[5])
            parts.data[at : at + 8] = rng.randbytes(8)
        else:
            spans = {rng.choice(sorted(parts.documents)): [rng.choice(ODD), rng.choice(ODD), rng.choice(ODD)]}
    return parts.sealed(spans)


def _word(rng: random.Random, parts: Parts) -> None:
    """A word of the plans becomes another; seldom one of the key, or they would be passed over."""
    start, length = parts.plans
    if length > 24:
        at = start + rng.randrange(0 if rng.random() < 0.02 else 2, length // 8) * 8
        old = int.from_bytes(parts.data[at : at + 8], "little", signed=True)
        number = rng.choice((old + 1, old - 1, old + 64, old * 2, -old, rng.choice([n for n in ODD if type(n) is int])))
        parts.data[at : at + 8] = (number % 2**64).to_bytes(8, "little")


def _raw(rng: random.Random, data: bytearray) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        at = rng.randrange(len(data))
        data[at : at + rng.randrange(64)] = rng.randbytes(rng.randrange(64))
    else:
        at = rng.randrange(HEADER.size)
        data[at] = rng.randrange(256)
        fields = list(HEADER.unpack_from(data))
        fields[-1] = crc32(data[: HEADER.size - 4])
        data[: HEADER.size] = HEADER.pack(*fields)
    return bytes(data)


def _change(rng: random.Random, document: Any) -> None:
    """Something in a document becomes something else."""
    at = document
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = rng.choice(keys)
        inside = at[key]
        if isinstance(inside, (dict, list)) and inside and rng.random() < 0.9:
            at = inside
            continue
        break
    what = rng.random()
    if what < 0.5:
        at[key] = copy.deepcopy(rng.choice(ODD))
    elif what < 0.65 and type(inside) is int:
        at[key] = inside + rng.choice((-64, -1, 1, 64, 10**6))
    elif what < 0.8:
        at[key] = copy.deepcopy(at[rng.choice(keys)])
    elif isinstance(at, list):
        if what < 0.9:
            del at[key]
        else:
            at.insert(key, copy.deepcopy(inside))
    elif what < 0.9:
        del at[key]
    else:
        at[rng.choice(("x", "y", "W", "h0"))] = copy.deepcopy(inside)


def looked_at(data: bytes) -> str:
    """What the reader and the verifier of plans say of a file: it is read whole, and nothing of it runs."""
    found = []
    try:
        file = native(data)
    except LstmInferError:
        return "no frame"
    if file is None:
        return "no native file"
    for what, look in (
        ("plans", lambda: plans_in(file.memory, file.label, ISA)), ("graph", lambda: restored(file, None)),
        ("checksums", file.check),
    ):  # fmt: skip
        try:
            with file.judged():
                look()
            found.append(what)
        except LstmInferError:
            found.append(f"no {what}")
    return ", ".join(found)


def tried(data: bytes) -> str:
    """What became of a file: "runs", or where it was refused."""
    try:
        model = lstm_infer.load(data)
    except LstmInferError:
        return "refused by load"
    found = []
    try:
        stream = model.stream()
        plan, call = stream._plan, stream.step
        if isinstance(plan, MappedPlan):  # for each of the sizes that it has plans for
            ways = [[(name, dtype, shape) for name, dtype, shape, *_ in one.inputs] for one in (plan, *plan.others)]
        else:
            ways = [[(name, plan.step_facts[name].dtype, plan.step_facts[name].shape) for name in plan.fed.streamed]]
            call = stream.run if plan.spec.lag else call  # what looks ahead does not answer each step
        for ports in ways:
            if all(prod(shape) < MOST for *_, shape in ports):
                for _ in range(2):
                    call({name: np.ones(shape, dtype) for name, dtype, shape in ports})
        stream.restore(stream.snapshot())
        found.append("streams")
    except LstmInferError:
        found.append("refused by stream")
    try:
        roles = model._walked_roles
        fed = roles.feeds(3 if roles.time_size is None else roles.time_size, roles.batch_size or 1)
        facts = {port.name: fed[port.name] for port in model._ports}
        if all(prod(fact.shape) < MOST for fact in facts.values()):
            model.run({name: np.zeros(fact.shape, fact.dtype) for name, fact in facts.items()})
        found.append("runs")
    except LstmInferError:
        found.append("refused by run")
    return ", ".join(found)


def fuzz(n: int, seed: int, *, only: int | None = None, run: bool = True, say: Any = print) -> dict[str, int]:
    """Try n cases; how often each thing came of it.

    Raises
    ------
    AssertionError
        Something else than an error of ours, or a hang; names the case.
    """
    subjects = files()
    names = sorted(subjects)
    counts: collections.Counter[str] = collections.Counter()
    for case in range(n) if only is None else [only]:
        rng = random.Random(f"{seed} {case}")
        data = mutated(rng, subjects[rng.choice(names)])
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                counts[(tried if run else looked_at)(data)] += 1
        except Exception as error:
            if only is not None:
                traceback.print_exc()
            raise AssertionError(f"seed {seed}, case {case}: {type(error).__name__}: {error}") from error
        assert time.process_time() - began < SECONDS, (
            f"seed {seed}, case {case}: takes {time.process_time() - began:.0f} s"
        )
        if say is not None and case % 5000 == 4999:
            say(f"{case + 1:,}: {dict(counts)}")
    return dict(counts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--read", action="store_true", help="nothing runs: reader and verifier alone")
    args = parser.parse_args()
    counts = fuzz(args.n, args.seed, only=args.only, run=not args.read)
    print(
        f"seed {args.seed}: {sum(counts.values()):,} files: "
        + ", ".join(f"{k} {v:,}" for k, v in sorted(counts.items()))
    )


if __name__ == "__main__":
    main()
