"""A few of what tools/fuzz_plans.py does: damaged plans that the verifier takes stay inside of their memories."""

from __future__ import annotations

import collections
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("needs fork, and pages that nobody may touch", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fuzz_plans  # noqa: E402

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
