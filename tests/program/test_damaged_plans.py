"""A few of what tools/fuzz_plans.py does: damaged plans that the verifier takes stay inside of their memories."""

from __future__ import annotations

import collections
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("needs fork, and pages that nobody may touch", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fuzz_plans  # noqa: E402

from lstm_infer import _core  # noqa: E402
from lstm_infer.program.verifier import PlanWords  # noqa: E402

Case = Callable[[int], str]


@pytest.fixture(scope="module")
def case() -> Case:
    """A case by its number."""
    files = [ROOT / "tests" / "zoo" / "files" / f"{name}.onnx" for name in ("dyn_crn", "dyn_battery", "ts_packed")]
    pool = fuzz_plans.pool_of(files)
    return lambda number: fuzz_plans.tried(random.Random(number), pool)


def test_damaged_plans_run_inside(case: Case) -> None:
    counts: collections.Counter[str] = collections.Counter()
    assert not fuzz_plans.supervised(list(range(1500)), case, counts)
    assert sum(n for what, n in counts.items() if "refused" in what) > 300
    assert sum(n for what, n in counts.items() if "ran" in what) > 300


def test_what_leaves_its_memory_is_seen(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each memory 64 bytes smaller than the verifier asks for."""
    right = fuzz_plans.boxed

    def short(plan, sizes, uses):
        box = right(plan, sizes, uses)
        return fuzz_plans.Box(box.first, [max(n - 64, 0) for n in box.n])

    monkeypatch.setattr(fuzz_plans, "boxed", short)
    counts: collections.Counter[str] = collections.Counter()
    failed = fuzz_plans.supervised(list(range(100)), case, counts, quiet=True)
    assert len(failed) > sum(n for what, n in counts.items() if "ran" in what and "plan" not in what)


# Steps that the verifier takes, and that once left their memories: slot, words, bytes of the memory that base 0 is.
ONCE = {
    "an input in whole vectors, stored as it is": (
        "map_f32",
        [3, 2, 1, 1, 4, 64, 5, 0, 20480, 0, 324, 5, 1, 0, 9216, 0, 1, 4, 0, 0, 0, 0, 320, 5, 1, 0, 3, 1, 0, 1, 1],
        25648,
    ),
    "rows of weights that there are none of": (
        "matmul_i8",
        [0, 0, 0, 256, -1, 0, 0, 64, 1, 0, 8, 0, 1, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        256,
    ),
}


@pytest.mark.parametrize("isa", [name for name, runnable in _core.list_isas() if runnable])
@pytest.mark.parametrize("what", ONCE)
def test_steps_that_once_left_their_memories(what: str, isa: str) -> None:
    slot, words, n_bytes = ONCE[what]
    plan = PlanWords([(slot, np.array(words, np.int64))])
    uses = [_core.USE_READ | _core.USE_WRITE | _core.USE_OWN]
    assert fuzz_plans.taken(plan, fuzz_plans.Plain([n_bytes], uses, [0]))
    memory = fuzz_plans.Guarded()

    def ran(number: int) -> str:
        start, end = memory.take(n_bytes, at_end=True)
        memory.hide(start, end)
        fuzz_plans.built(isa, plan).run([memory.address + start])
        assert memory.show()
        return "ran"

    assert not fuzz_plans.supervised([0], ran, collections.Counter(), quiet=True)
