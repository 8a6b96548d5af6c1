"""Plans whose words are damaged: each is refused by the verifier, or run over memory that ends where it says.

    python tools/fuzz_plans.py --n 100000 --seed 1
    python tools/fuzz_plans.py --seed 1 --only 471      one case again, in this process
    python tools/fuzz_plans.py --whole DIR|FILE ...     no damage: are all plans of these models taken, f32, f16 and int8

A case depends on the seed and its number only. It takes a step of a plan of some model (small ones of tests/plan_words.py, and
files of tests/zoo), changes a few of its words, and asks the verifier. What is taken is run: memories are cut to the smallest
sizes that the verifier still takes, begin and end at pages that nobody may touch, are read-only where the verifier says so, and
hold anything: numbers, indices, noise. Every sixth case is a whole plan with one step changed. Cases run in processes of their own;
one that dies or hangs is named. Built with a sanitizer, the bytes between a memory and its page are watched too.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import faulthandler
import mmap
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from lstm_infer import _core  # noqa: E402
from lstm_infer.errors import FormatError  # noqa: E402
from lstm_infer.program.verifier import Memories, PlanWords, verify  # noqa: E402
from plan_words import Kept, plans_of, small_models  # noqa: E402

MOST_WORK = 3e7
LARGEST = 1 << 22
"""Bytes of a memory that is made for a case."""
PAGE = mmap.PAGESIZE
CANARY = 0xA7
NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    17,
    63,
    64,
    65,
    255,
    256,
    4096,
    65535,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**44,
    2**47,
    2**62,
    2**63 - 1,
]
FILES = [
    "dyn_beat_tracker", "dyn_crn", "dyn_fullsubnet", "dyn_gtcrn", "dyn_layernorm_loop", "ke_blended_loop", "q_*",
    "tf_token_gru", "tf_counted_loop", "ts_luong_attention", "ts_flagged_net", "ts_mamba", "ts_nowcast", "ts_packed",
    "ts_tacotron_step", "ts_world_model_step",
]  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_poison = getattr(_libc, "__asan_poison_memory_region", None)
_unpoison = getattr(_libc, "__asan_unpoison_memory_region", None)
ALIGN = 64 if _poison else 8
"""Where memories begin: ends are then at most so far from the page behind."""


class Guarded:
    """Memory between two pages that nobody may touch; what is asked for lies at its end, or at its beginning."""

    def __init__(self) -> None:
        self.room = LARGEST + 2 * PAGE
        self.map = mmap.mmap(-1, self.room)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.bytes = np.frombuffer(self.map, np.uint8)
        self._protect(0, PAGE, 0)
        self._protect(self.room - PAGE, PAGE, 0)

    def _protect(self, start: int, n: int, how: int) -> None:
        if _libc.mprotect(ctypes.c_void_p(self.address + start), ctypes.c_size_t(n), how):
            raise OSError(ctypes.get_errno(), "mprotect")

    def take(self, n: int, at_end: bool) -> tuple[int, int]:
        """Where n bytes lie, and the first byte behind what of them has to be kept unchanged around them."""
        start = (self.room - PAGE - n) // ALIGN * ALIGN if at_end else PAGE
        return start, start + n

    def hide(self, start: int, end: int) -> None:
        """Everything but start .. end - 1 holds canaries, and is poisoned under a sanitizer."""
        self.edges = [(max(PAGE, start - 256), start), (end, min(self.room - PAGE, end + 256))]
        for a, b in self.edges:
            self.bytes[a:b] = CANARY
            if _poison and b > a:
                _poison(ctypes.c_void_p(self.address + a), ctypes.c_size_t(b - a))

    def show(self) -> bool:
        """Undo `hide`; is every canary there."""
        alive = True
        for a, b in self.edges:
            if _unpoison and b > a:
                _unpoison(ctypes.c_void_p(self.address + a), ctypes.c_size_t(b - a))
            alive = alive and bool(np.all(self.bytes[a:b] == CANARY))
        return alive

    def lock(self, locked: bool) -> None:
        """May it be read only."""
        self._protect(PAGE, self.room - 2 * PAGE, mmap.PROT_READ | (0 if locked else mmap.PROT_WRITE))


@dataclass
class Box:
    """The bytes of each base that the verifier says are enough: from `first` on, `n` of them."""

    first: list[int]
    n: list[int]


class Plain:
    """Memories of one block each, a part of their front cut off."""

    def __init__(self, sizes: Sequence[int], uses: Sequence[int], first: Sequence[int]) -> None:
        rows = [
            (root, -f, -f, 64, n - f, use, 0) for root, (n, use, f) in enumerate(zip(sizes, uses, first, strict=True))
        ]
        self.bases = np.array(rows, np.int64)
        self.blocks = np.empty((0, 3), np.int64)


def taken(plan: PlanWords, memories: Plain | Memories) -> bool:
    try:
        verify(plan, memories, most_work=MOST_WORK)  # type: ignore[arg-type]
    except FormatError:
        return False
    return True


def boxed(plan: PlanWords, sizes: list[int], uses: list[int]) -> Box:
    """The smallest memories that the verifier takes, a base after the other."""
    first, sizes = [0] * len(sizes), list(sizes)
    for base, size in enumerate(sizes):
        low, high = -1, size  # low: refused
        while high - low > 1:
            sizes[base] = (low + high) // 2
            low, high = (low, sizes[base]) if taken(plan, Plain(sizes, uses, first)) else (sizes[base], high)
        sizes[base] = high
        low, high = 0, high // 64 + 1  # in steps of 64: the alignment stays
        while high - low > 1:
            first[base] = (low + high) // 2 * 64
            fits = first[base] <= sizes[base] and taken(plan, Plain(sizes, uses, first))
            low, high = (first[base] // 64, high) if fits else (low, first[base] // 64)
        first[base] = low * 64
    assert taken(plan, Plain(sizes, uses, first)), "what was taken is refused"
    return Box(first, [n - f for n, f in zip(sizes, first, strict=True)])


def filled(rng: random.Random, n: int) -> np.ndarray:
    """n bytes of anything."""
    make = np.random.default_rng(rng.getrandbits(32))
    kind = rng.choice(["floats", "noise", "indices", "wide indices", "zeros", "odd floats"])
    if kind == "floats":
        raw = make.standard_normal(n // 4 + 1, np.float32)
    elif kind == "noise":
        raw = make.integers(0, 256, n, np.uint8)
    elif kind == "indices":
        raw = make.integers(-1, rng.choice([2, 5, 40]), n // 4 + 1).astype(np.int32)
    elif kind == "wide indices":
        raw = make.integers(-1, rng.choice([2, 5, 40]), n // 8 + 1).astype(np.int64)
    elif kind == "odd floats":
        raw = make.choice(np.array([np.nan, np.inf, -np.inf, 3e38, -1e-40, 0.0], np.float32), n // 4 + 1)
    else:
        raw = np.zeros(n, np.uint8)
    return raw.view(np.uint8)[:n]


def damaged(rng: random.Random, words: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """One to three words changed."""
    new = words.copy()
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        at = rng.randrange(len(new))
        old = int(new[at])
        kind = rng.choice(["near", "near", "twice", "number", "negative", "swap", "same", "other", "double", "third"])
        if kind == "near":
            value = old + rng.choice([-64, -16, -8, -4, -1, 1, 1, 4, 8, 16, 64])
        elif kind == "twice":
            value = old * rng.choice([2, 3, 4, 10]) if rng.random() < 0.6 else old // rng.choice([2, 3, 4])
        elif kind == "number":
            value = rng.choice(NUMBERS) * rng.choice([1, 1, 1, -1])
        elif kind == "negative":
            value = -old
        elif kind == "swap":
            other = rng.randrange(len(new))
            new[at], new[other] = new[other], new[at]
            continue
        elif kind == "same":
            value = int(new[rng.randrange(len(new))])
        elif kind == "other":
            from_ = rng.choice(others)
            value = int(from_[min(at, len(from_) - 1)])
        elif kind == "double":
            value = int.from_bytes(
                np.float64(rng.choice([0.0, -1.0, np.nan, np.inf, 1e300])).tobytes(), "little", signed=True
            )
        else:
            value = rng.randrange(0, 20)
        new[at] = (value + 2**63) % 2**64 - 2**63
    if rng.random() < 0.01:
        new = new[: rng.randrange(len(new) + 1)] if rng.random() < 0.5 else np.append(new, new[:1])
    return new


class Pool:
    """Steps to start from: every slot as often as any other."""

    def __init__(self, kept: Sequence[Kept]) -> None:
        self.kept = kept
        self.by_slot: dict[str, list[tuple[Kept, PlanWords, np.ndarray]]] = {}
        seen: set[bytes] = set()
        for one in kept:
            if max(one.constant_bytes, one.arena, one.state, *one.inputs, *one.outputs, 0) > LARGEST:
                continue
            for slot, words in one.plan.steps:
                if words.tobytes() not in seen:
                    seen.add(words.tobytes())
                    self.by_slot.setdefault(slot, []).append((one, one.plan, words))
        self.memories = [Guarded() for _ in range(40)]

    def sizes(self, one: Kept) -> tuple[list[int], list[int]]:
        sizes = [one.constant_bytes, one.state, one.arena, *one.inputs, *one.outputs]
        return sizes, one.memories.bases[:, 5].tolist()


def built(isa: str, plan: PlanWords) -> _core.Plan:
    return _core.Plan(isa, plan.steps, [built(isa, inner) for inner in plan.nested])


def run(
    rng: random.Random, pool: Pool, plan: PlanWords, box: Box, uses: list[int], contents: dict[int, np.ndarray] | None
) -> str:
    """Run over memories of these sizes; what came of it. contents: parts of base 0 that are known, all else is hidden."""
    isa = rng.choice([name for name, ok in _core.list_isas() if ok])
    at_end = rng.random() < 0.7
    bases, edges = [], pool.memories[: len(uses)]
    for base, memory in enumerate(edges):
        memory.lock(False)
        start, end = memory.take(box.n[base], at_end)
        memory.bytes[start:end] = filled(rng, box.n[base])
        for offset, content in (contents or {}).items() if base == 0 else ():
            memory.bytes[start + offset : start + offset + content.size] = content
        memory.hide(start, end)
        memory.lock(not uses[base] & _core.USE_WRITE)
        bases.append(memory.address + start - box.first[base])
    try:
        built(isa, plan).run(bases)
        outcome = "ran"
    except _core.StepError as error:
        outcome = f"status {error.status}"
    for memory in edges:
        memory.lock(False)
    intact = [memory.show() for memory in edges]
    assert all(intact), "a byte outside of its memory was written"
    return outcome


def tried(rng: random.Random, pool: Pool) -> str:
    """One case: its outcome."""
    slot = rng.choice(sorted(pool.by_slot))
    one, plan, words = rng.choice(pool.by_slot[slot])
    new = damaged(rng, words, [w for _, _, w in pool.by_slot[slot]])
    sizes, uses = pool.sizes(one)
    if rng.random() < 1 / 6:  # the whole plan
        steps = [(s, new if w is words else w) for s, w in plan.steps]
        changed = PlanWords(steps, plan.nested)
        if not taken(changed, one.memories):
            return "plan: refused"
        return "plan: " + run(rng, pool, changed, Box([0] * len(sizes), sizes), uses, one.constants)
    changed = PlanWords([(slot, new)], plan.nested)
    if slot in _core.control:
        changed = replaced(rng, changed, new)
    if not taken(changed, Plain(sizes, uses, [0] * len(sizes))):
        return f"{slot}: refused"
    box = boxed(changed, sizes, uses)
    return f"{slot}: " + run(rng, pool, changed, box, uses, None)


def replaced(rng: random.Random, plan: PlanWords, words: np.ndarray) -> PlanWords:
    """A loop or a branch, sometimes with a changed step inside."""
    nested = list(plan.nested)
    for at, inner in enumerate(nested):
        if inner.steps and rng.random() < 0.7:
            steps = list(inner.steps)
            step = rng.randrange(len(steps))
            slot, old = steps[step]
            steps[step] = slot, damaged(rng, old, [w for _, w in steps])
            nested[at] = PlanWords(steps, inner.nested)
    return PlanWords(plan.steps, nested)


# ---- processes ----


def worker(write: int, numbers: Sequence[int], one: Callable[[int], str], quiet: bool) -> None:
    """Cases in order; tells the number before, and the outcome behind."""
    if quiet:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with os.fdopen(write, "w", buffering=1) as out:
        for number in numbers:
            out.write(f"{number}\n")
            out.write(f"= {one(number)}\n")


def supervised(
    numbers: list[int],
    one: Callable[[int], str],
    counts: collections.Counter[str],
    *,
    seconds: float = 60,
    quiet: bool = False,
) -> list[str]:
    """All cases, in processes that are made again when one ends; what failed."""
    failed: list[str] = []
    while numbers:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            code = 0
            try:
                worker(write, numbers, one, quiet)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                code = 3
            os._exit(code)
        os.close(write)
        last, done = None, 0
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        with os.fdopen(read) as lines:
            for line in lines:
                signal.alarm(int(seconds))
                if line.startswith("= "):
                    counts[line[2:].strip()] += 1
                    last, done = None, done + 1
                else:
                    last = int(line)
        signal.alarm(0)
        _, status = os.waitpid(child, 0)
        if status and last is not None:
            failed.append(f"case {last}: ended with {os.waitstatus_to_exitcode(status)}")
            if not quiet:
                print(failed[-1], flush=True)
            done += 1
        numbers = numbers[done:]
    return failed


def pool_of(files: Sequence[Path]) -> Pool:
    found: list[Kept] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _, data in small_models():
            for precision in ("f32", "f16", "int8"):
                found += plans_of(data, precision=precision)
        for path in files:
            for precision in ("f32", "f16", "int8"):
                found += plans_of(path, precision=precision)
    return Pool(found)


def all_taken(files: Sequence[Path]) -> int:
    """Every plan of every file, as it is; the number of those that are refused."""
    counts: collections.Counter[str] = collections.Counter()
    refused, most, seconds = 0, 0.0, 0.0
    for path in files:
        for precision in ("f32", "f16", "int8"):
            for kept in plans_of(path, precision=precision):
                counts.update(slot for slot, _ in kept.all_steps())
                begin = time.perf_counter()
                try:
                    most = max(most, verify(kept.plan, kept.memories))
                except FormatError as error:
                    refused += 1
                    print(f"{path}, {precision}: {error}", flush=True)
                seconds += time.perf_counter() - begin
                counts["plans"] += 1
    for what, count in sorted(counts.items()):
        print(f"{count:8d}  {what}")
    n = max(sum(counts.values()) - counts["plans"], 1)
    print(
        f"{len(files)} files, {refused} plans refused; {1e6 * seconds / n:.2f} us a step; most work of a plan {most:.3g}"
    )
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="models; else small ones and some of tests/zoo")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--whole", action="store_true", help="take the plans as they are")
    parser.add_argument("--slot", action="append", help="steps of this slot alone; may be given several times")
    given = parser.parse_args()
    np.seterr(all="ignore")
    files = given.files or sorted(
        {path for name in FILES for path in sorted((ROOT / "tests/zoo/files").glob(f"{name}.onnx"))[:3]}
    )
    if given.whole:
        whole = [sorted(path.glob("*.onnx")) if path.is_dir() else [path] for path in files]
        return bool(all_taken([path for group in whole for path in group]))
    pool = pool_of(files)
    if given.slot:
        pool.by_slot = {slot: pool.by_slot[slot] for slot in given.slot}
    none = sorted({*_core.slots, *_core.control} - set(pool.by_slot))
    n_steps = sum(map(len, pool.by_slot.values()))
    print(f"{n_steps} steps of {len(pool.kept)} plans; slots without any: {none}", flush=True)

    def one(number: int) -> str:
        return tried(random.Random(given.seed * 1_000_003 + number), pool)

    if given.only is not None:
        print(one(given.only))
        return 0
    counts: collections.Counter[str] = collections.Counter()
    begin = time.perf_counter()
    failed = supervised(list(range(given.n)), one, counts)
    for outcome, count in sorted(counts.items()):
        print(f"{count:8d}  {outcome}")
    ran = sum(count for outcome, count in counts.items() if "refused" not in outcome)
    print(
        f"seed {given.seed}: {given.n} plans in {time.perf_counter() - begin:.0f} s, {ran} taken and run, {len(failed)} failed"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
